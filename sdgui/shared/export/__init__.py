"""Exporting images and tables from any panel."""
