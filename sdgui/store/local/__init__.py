"""Per-user tables; always in local SQLite, even with a shared registry."""
