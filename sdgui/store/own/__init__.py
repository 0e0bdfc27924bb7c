"""Per-user tables; always in local SQLite, also with a shared registry."""
