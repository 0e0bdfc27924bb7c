"""The commands ``runs watch``, ``runs report``, ``runs import``, ``runs export``, and ``mcp``."""
