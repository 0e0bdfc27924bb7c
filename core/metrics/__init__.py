"""Metrics: pure functions from features and predictions to numbers, one evaluation protocol each."""
