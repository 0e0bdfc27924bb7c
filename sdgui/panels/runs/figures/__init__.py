"""Figures and tables for a paper, from the curves on screen."""
