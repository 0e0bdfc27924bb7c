"""The trainer and the evaluators: no Qt, no SQL, and no screen needed.

``core.spec.config``, ``core.spec.presets``, ``core.spec.run.events`` and ``core.spec.run.folder`` import no torch,
so that the window can use them and still open at once.
"""
