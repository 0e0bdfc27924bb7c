"""Tracking: runs that scripts log, and provenance and system metrics for scripts and the trainer.

No module here may import torch, because `core.start_run` must not load it.
"""
