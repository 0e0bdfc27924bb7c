"""The verbs of ``python -m core``, grouped by subject: each module adds its own to the parser and runs them.

A module imports what it needs when a verb runs, so that ``presets`` answers without loading torch.
"""
