"""A shared registry: its address, its server, concurrent writes, and the history of changes."""
