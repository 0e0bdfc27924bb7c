"""The verbs of ``python -m core``: each module adds its verbs to the parser and runs them.

Modules import within functions, so that ``presets`` answers without loading torch.
"""
