"""Errors of indexes and queries."""

from __future__ import annotations

from core.spec.errors import UserError


class IndexFolderError(UserError):
    """An index that cannot be used or written; the message names the index and the remedy."""


class NoImagesError(IndexFolderError):
    """A source without images."""


class AllMissingError(IndexFolderError):
    """No image of the index is in its source, which contains other images."""


class UnusableIndexError(IndexFolderError):
    """An index that is damaged beyond repair, or of another model, version or program; only a new index can help."""


class QueryError(UserError):
    """An invalid query; the message names the problem."""
