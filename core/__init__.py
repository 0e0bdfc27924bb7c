"""The trainer and the evaluators: no Qt, no SQL, and no screen needed.

``core.config``, ``core.presets``, ``core.events`` and ``core.rundir`` import no torch,
so that the window can use them and still open at once.
"""
