"""The Data panel: a source as a gallery, statistics, duplicates, leaks, broken rows, and the model's views."""
