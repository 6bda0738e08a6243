"""The store of finished and unfinished stages, and why a stage is computed anew."""
