"""Errors of an index and of queries, each a sentence for the user."""

from __future__ import annotations

from core.spec.errors import UserError


class IndexFolderError(UserError):
    """An index that cannot be used or written; the message names it and the remedy."""


class QueryError(UserError):
    """A query that cannot be answered; the message names what is wrong with it."""
