"""Plots of curves: a grid of cards, legend, readout, toolbar and export."""
