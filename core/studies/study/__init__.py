"""Studies: every arm with every seed, trained for equal steps, evaluated alike and compared with intervals.

Flow: STUDY.json -> ``data`` (demo data, noisy copies) -> ``queue`` of trainers, each a ``job`` process -> measures of
each run -> ``results`` -> ``table`` and ``plot``.
"""
