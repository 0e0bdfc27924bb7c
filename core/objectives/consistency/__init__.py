"""Learning from unlabelled rows: one module per kind of ``objectives.consistency``."""
