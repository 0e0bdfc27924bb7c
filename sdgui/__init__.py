"""The window: experiments are defined, launched, watched and looked through here.

It imports of ``core`` only what loads no torch, and never trains: a run is a separate program.
"""
