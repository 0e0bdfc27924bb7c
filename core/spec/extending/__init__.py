"""Code of the user's own that a config names: references to it, its settings, the kinds of teacher. Nothing runs."""
