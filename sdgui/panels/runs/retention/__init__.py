"""Gain against retention of fine-tuned runs, with the path of interpolated weights."""
