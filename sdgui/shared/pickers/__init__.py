"""Widgets to choose data, a model or a preset."""
