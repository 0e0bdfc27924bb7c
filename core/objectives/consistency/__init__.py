"""Learning from rows without a label: a module for each kind of ``objectives.consistency``."""
