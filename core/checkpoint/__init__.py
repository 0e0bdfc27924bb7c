"""Checkpoints: writing and reading their files, and the one way to open a model by its name."""
