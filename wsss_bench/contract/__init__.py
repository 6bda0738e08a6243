"""What a plugin's author sees: hooks, card, view, artifacts, context. Everything here is public."""
