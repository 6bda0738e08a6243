"""irn: inter-pixel relations, a learnt boundary map and a random walk."""
