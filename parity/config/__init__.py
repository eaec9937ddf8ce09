"""The configuration: what a run is made from."""
