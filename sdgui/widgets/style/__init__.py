"""Colours, style sheet and theme."""
