"""Verbs ``runs WHAT`` that take more than a table: ``watch``, ``import``, ``export``."""
