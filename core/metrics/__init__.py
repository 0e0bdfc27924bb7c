"""Metrics: pure functions from features and predictions to numbers, with one module per evaluation protocol."""
