"""The run folder: paths, status, events, and names of models."""
