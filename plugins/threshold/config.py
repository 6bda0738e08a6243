"""Seeds to labels: per pixel the best class where its score beats `threshold`, else background."""

refine = dict(threshold=0.15)
