"""Results as data: the records of runs, and the numbers that papers report."""
