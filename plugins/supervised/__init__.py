"""supervised: the upper bound, trained on the true masks."""
