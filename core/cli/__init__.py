"""The commands of ``python -m core``: each module adds its commands to the parser and runs them.

Modules import within functions, so that a command such as ``presets`` runs without loading torch.
"""
