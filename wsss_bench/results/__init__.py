"""Results: run records, which every board is built from, and the numbers that papers report."""
