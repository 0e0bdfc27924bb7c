"""What is recorded of any training: runs that scripts log; provenance and system metrics, the trainer's too.

No torch: `core.start_run` must not load it.
"""
