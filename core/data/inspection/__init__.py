"""Inspection of a source: statistics of captions and labels, duplicates, leaks between splits, damaged files."""
