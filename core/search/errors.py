"""Errors of indexes and queries."""

from __future__ import annotations

from core.spec.errors import UserError


class IndexFolderError(UserError):
    """An index that cannot be used or written; the message names the index and the remedy."""


class AllMissingError(IndexFolderError):
    """No image of the index is in its source, which contains other images."""


class QueryError(UserError):
    """An invalid query; the message names the problem."""
