"""Files, images, locks, paths, configs, and who opens what: all that touches the disk and knows nothing of methods."""
