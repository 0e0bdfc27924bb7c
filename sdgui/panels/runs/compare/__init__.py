"""Runs side by side: differing settings, and retrieval results for the same captions."""
