"""Files, images, locks, paths and configs: what touches the disk, and knows nothing of methods."""
