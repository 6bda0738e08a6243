"""mysegmentor: a segmentor for wsss-bench."""
