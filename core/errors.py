"""The one kind of failure whose message is meant for the user.

Every part raises its own subclass (ConfigError, DataError, ...); the verbs and the worker print the message alone.
Anything else that escapes is a bug and comes with its traceback, folded away.
"""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend; the message names what is wrong, its value and the remedy."""
