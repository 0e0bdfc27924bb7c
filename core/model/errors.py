"""Errors about a model, in one sentence each."""

from __future__ import annotations

from core.spec.errors import UserError


class ModelError(UserError):
    """A model that cannot be built or filled; the message names the value and the remedy."""
