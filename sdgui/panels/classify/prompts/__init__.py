"""Prompts edited beside the confusion matrix: the draft with its history, and the editor."""
