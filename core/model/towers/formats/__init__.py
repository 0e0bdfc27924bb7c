"""Conversion between models of open_clip and of other programs."""
