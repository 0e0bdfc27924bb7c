"""Judges of a trained model, one protocol each."""
