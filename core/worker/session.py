"""A session: the requests of one panel to a worker, and its state between requests.

Flow: ``core.worker.server`` -> ``Session.verbs`` -> an answer as plain data.

State is only a cache. An answer contains a key that describes its subject (`write_key`); later requests contain that
key, so that a restarted worker, or one that evicted the data, can recompute it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from core.spec.errors import UserError

Verb = Callable[..., dict[str, Any]]
Key = TypeVar("Key")
Value = TypeVar("Value")


class Session(ABC):
    """Handles the requests of one panel."""

    @property
    @abstractmethod
    def verbs(self) -> Mapping[str, Verb]:
        """Verbs by name. Each takes ``progress`` (a `Reporter`) and JSON, and returns JSON.

        A UserError is shown to the user.
        """


class Recent(Generic[Key, Value]):
    """An LRU cache."""

    def __init__(self, capacity: int, on_removed: Callable[[], object] = lambda: None) -> None:
        """Holds at most ``capacity`` values; ``on_removed`` is called after values were removed."""
        self._capacity, self._on_removed = capacity, on_removed
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of ``key``.

        If it is missing, the least recently used value is evicted before ``make`` is called.
        """
        if key not in self._values:
            self._evict()
            self._values[key] = make()
        return self[key]

    def __getitem__(self, key: Key) -> Value:
        """The stored value of ``key``, which becomes the most recently used."""
        self._values.move_to_end(key)
        return self._values[key]

    def put(self, key: Key, value: Value) -> Value:
        """Stores ``value``, replacing an older one of the same key."""
        self._values.pop(key, None)
        self._evict()
        self._values[key] = value
        return value

    def drop(self, condition: Callable[[Key], bool]) -> None:
        """Removes the values whose key satisfies ``condition``."""
        dropped = [key for key in self._values if condition(key)]
        for key in dropped:
            del self._values[key]
        if dropped:
            self._on_removed()

    def __iter__(self) -> Iterator[Key]:
        """The keys, the least recently used first."""
        return iter(self._values)

    def items(self) -> Iterator[tuple[Key, Value]]:
        """Keys and values, the least recently used first."""
        return iter(self._values.items())

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def _evict(self) -> None:
        excess = max(0, len(self._values) - self._capacity + 1)
        for _ in range(excess):
            self._values.popitem(last=False)
        if excess:
            self._on_removed()


def modified_at(path: str | Path) -> int:
    """The modification time of ``path`` in nanoseconds; 0 if it cannot be found."""
    try:
        return Path(path).stat().st_mtime_ns
    except (OSError, ValueError):
        return 0


def write_key(request: Any) -> str:
    """A dataclass as a key: JSON with its fields."""
    shape: Any = type(request)
    return _adapter(shape).dump_json(request).decode()


def read_key(shape: Any, key: str, message: str) -> Any:
    """The ``shape`` that ``key`` describes. Raises UserError with ``message`` when it is invalid."""
    try:
        return _adapter(shape).validate_json(key)
    except ValidationError as error:
        raise UserError(message) from error


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)
