"""A session: what one panel can ask a worker, and what is kept in memory between two of its requests.

Flow: ``core.worker.server`` -> ``Session.verbs`` -> an answer as plain data.

What a session keeps only saves time. An answer names what it is about by a key that describes it (`write_key`), and a
later request carries that key, so that a worker that was restarted, or that had to make room, computes it again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from core.spec.errors import UserError

Verb = Callable[..., dict[str, Any]]
Key = TypeVar("Key")
Value = TypeVar("Value")


class Session(ABC):
    """Answers one panel's requests."""

    @property
    @abstractmethod
    def verbs(self) -> Mapping[str, Verb]:
        """By the name that a request gives. Each takes ``progress`` (a `Reporter`) and JSON, and answers JSON.

        UserError is shown to the user as it is.
        """


class Recent(Generic[Key, Value]):
    """The values used last; the one unused for longest makes room for the next."""

    def __init__(self, most: int, freed: Callable[[], object] = lambda: None) -> None:
        """At most ``most`` values; ``freed`` is called when some were dropped."""
        self._most, self._freed = most, freed
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of ``key``, made when it is not in memory (and room for it before that)."""
        if key not in self._values:
            self._make_room()
            self._values[key] = make()
        self._values.move_to_end(key)
        return self._values[key]

    def put(self, key: Key, value: Value) -> Value:
        """Keep ``value``, in place of an older one of the same key."""
        self._values.pop(key, None)
        self._make_room()
        self._values[key] = value
        return value

    def drop(self, condition: Callable[[Key], bool]) -> None:
        """Forget the values of these keys."""
        dropped = [key for key in self._values if condition(key)]
        for key in dropped:
            del self._values[key]
        if dropped:
            self._freed()

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def _make_room(self) -> None:
        excess = max(0, len(self._values) - self._most + 1)
        for _ in range(excess):
            self._values.popitem(last=False)
        if excess:
            self._freed()


def write_key(request: Any) -> str:
    """A dataclass as a key: JSON with its fields."""
    shape: Any = type(request)
    return _adapter(shape).dump_json(request).decode()


def read_key(shape: Any, key: str, otherwise: str) -> Any:
    """The ``shape`` that ``key`` describes; UserError with the sentence ``otherwise`` when it describes none."""
    try:
        return _adapter(shape).validate_json(key)
    except ValidationError as error:
        raise UserError(otherwise) from error


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)
