"""Prompts that are edited beside the confusion matrix: what is typed, with its history, and the editor."""
