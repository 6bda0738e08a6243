"""A board's rows as Markdown, CSV, LaTeX and JSON."""
