"""Runs as programs of their own: starting and ending them, following what they report, asking a worker."""
