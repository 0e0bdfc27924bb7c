"""Exporting pictures and tables from any panel."""
