"""affinitynet: pixel affinities and a random walk."""
