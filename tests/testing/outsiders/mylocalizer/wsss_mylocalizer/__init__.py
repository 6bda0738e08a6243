"""mylocalizer: a localizer for wsss-bench."""
