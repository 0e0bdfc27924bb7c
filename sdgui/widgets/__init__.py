"""Widgets made once and used in every panel; they take plain data and know nothing of the store."""
