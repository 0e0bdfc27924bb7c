"""Runs as programs of their own: starting and stopping them, and following their folders."""
