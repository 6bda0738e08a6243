"""Where the cells of a run are computed, behind the shape of `concurrent.futures`."""
