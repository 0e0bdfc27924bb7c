"""The window: define, launch and watch experiments, and use their models.

It imports of ``core`` only what loads no torch, and never trains: a run is a separate program.
"""
