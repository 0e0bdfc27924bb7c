"""The Data panel: a source as a gallery, figures, duplicates, leaks, broken rows, and what a model sees of it."""
