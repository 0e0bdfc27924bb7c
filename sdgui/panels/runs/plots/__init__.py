"""Plots of curves: cards in a grid, legend, readout, toolbar, export."""
