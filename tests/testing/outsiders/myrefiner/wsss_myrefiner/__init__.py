"""myrefiner: a refiner for wsss-bench."""
