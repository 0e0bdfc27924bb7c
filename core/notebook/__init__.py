"""The Python API of ``import core``: open models, train and read runs.

One module per subject, so that ``read_run`` needs no torch; ``core.__getattr__`` loads them on first use.
"""
