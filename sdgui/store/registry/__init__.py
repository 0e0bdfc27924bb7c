"""A registry that a group shares: its address, its server, what two people write at once, and who did what."""
