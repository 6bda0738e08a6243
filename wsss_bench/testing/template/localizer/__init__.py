"""The template of a localizer: its plugin, a test of its rule, and the rule in words."""
