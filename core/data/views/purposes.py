"""Purposes of a view's draws: the last key of each (``core.data.draws``). Numbers are never reused."""

CROP, FLIP, AUGMENT, ERASE, MASK, COLOUR, KEEP = range(7)
