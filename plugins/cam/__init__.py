"""cam: class activation maps, the baseline."""
