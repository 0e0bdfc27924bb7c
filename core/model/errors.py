"""The error for models that cannot be used."""

from __future__ import annotations

from core.spec.errors import UserError


class ModelError(UserError):
    """A model that cannot be built or loaded; the message contains the value and the remedy."""
