"""The run folder: paths, status, events, and what a model's name stands for."""
