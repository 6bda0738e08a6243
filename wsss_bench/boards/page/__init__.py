"""A board as one HTML page, its script and style as real files."""
