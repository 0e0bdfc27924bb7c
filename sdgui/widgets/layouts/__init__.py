"""Layouts: flowing like words, or over the edge of a panel."""
