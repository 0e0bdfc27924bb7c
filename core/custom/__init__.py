"""Runs the user's own code: which code a run may load, and errors that contain its line."""
