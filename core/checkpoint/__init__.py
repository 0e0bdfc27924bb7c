"""Checkpoints: writing and reading their files, and opening any model by its name."""
