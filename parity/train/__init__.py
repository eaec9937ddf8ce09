"""The training loop and what belongs to it; written once for every framework."""
