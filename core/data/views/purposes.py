"""Stream ids of a view's random draws: the last key of each draw (``core.data.draws``). Ids are never reused."""

CROP, FLIP, AUGMENT, ERASE, MASK, COLOUR, KEEP = range(7)
