"""In front of the package for programs that tests start: a user may do without it, and they are loaded sooner."""

raise ImportError("as where pandas is not installed")
