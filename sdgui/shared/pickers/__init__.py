"""Choosing data, a model or a preset."""
