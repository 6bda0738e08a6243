"""threshold: the default refiner."""
