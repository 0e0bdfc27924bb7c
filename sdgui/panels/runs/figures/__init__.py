"""Figures and tables for a paper from the shown curves."""
