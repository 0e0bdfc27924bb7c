"""The verbs of ``python -m core``, one module a subject: each adds its own to the parser and runs them.

A module imports what it needs when a verb runs, so that ``presets`` answers without loading torch.
"""
