"""Renders the lines of a plot: extremes per pixel column, coverage, images."""
