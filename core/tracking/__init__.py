"""Tracking: runs logged by scripts, and the provenance and system metrics of scripts and of the trainer.

No module here may import torch, because `core.start_run` must not load it.
"""
