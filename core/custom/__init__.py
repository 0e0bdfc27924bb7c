"""Runs the user's own code: what a run may load, and errors that name the line."""
