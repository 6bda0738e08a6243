"""The project that ``wsss-bench plugin new`` writes."""
