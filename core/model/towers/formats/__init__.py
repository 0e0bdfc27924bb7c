"""Conversion between open_clip's models and those of other programs."""
