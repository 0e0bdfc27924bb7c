"""What ``import core`` offers a notebook or a script: models used, runs trained and read, as Python objects.

A module for each subject, so that ``read_run`` needs no torch; ``core.__getattr__`` loads them when they are used.
"""
