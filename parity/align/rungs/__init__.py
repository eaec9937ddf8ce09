"""The rungs of the ladder, one file each. Each takes two probes, the reference first, and returns a `Rung`."""
