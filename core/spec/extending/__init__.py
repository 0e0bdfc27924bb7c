"""Custom code that a config names: references to it, its settings, the kinds of teacher. Nothing here runs it."""
