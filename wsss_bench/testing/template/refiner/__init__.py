"""The template of a refiner: its plugin, a test of its rule, and the rule in words."""
