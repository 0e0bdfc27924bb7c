"""Runs side by side: what of their settings differs, and what each finds for the same captions."""
