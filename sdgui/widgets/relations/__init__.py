"""Plots that relate several values of many runs."""
