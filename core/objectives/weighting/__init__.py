"""Weighting pairs: the caption filter, self-confidence weighting, and evidence that a caption matches its image."""
