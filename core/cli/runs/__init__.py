"""Subparsers ``runs WHAT`` that take more than a table: ``watch``, ``report``, ``import``, ``export``; and ``mcp``."""
