"""Generic widgets used by every panel; they take plain data and do not depend on the store."""
