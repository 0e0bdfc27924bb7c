"""In front of the package for programs that tests start: a user may do without it, and they are loaded sooner."""

raise ImportError("as where timm is not installed")
