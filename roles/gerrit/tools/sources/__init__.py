"""The audit of sources: whether all that a `repo` manifest names is there, whole, and the same on the mirror."""
