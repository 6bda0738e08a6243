"""The template of a segmentor: its plugin, a test of its rule, and the rule in words."""
