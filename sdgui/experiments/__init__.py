"""The tree of experiments and runs, and what one does with an entry."""
