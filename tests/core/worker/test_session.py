"""What a session keeps: few values, the last used; keys that say what they name."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from pydantic import ConfigDict

from core.spec.errors import UserError
from core.worker.session import Recent, read_key, write_key


@dataclass(frozen=True)
class Asked:
    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    data: str
    k: int = 3


def test_the_least_recently_used_value_is_evicted() -> None:
    made: list[str] = []
    recent: Recent[str, str] = Recent(2)

    def get(key: str) -> str:
        return recent.get(key, lambda: made.append(key) or key.upper())  # type: ignore[func-returns-value]

    assert [get(key) for key in "abacab"] == list("ABACAB")
    assert made == ["a", "b", "c", "b"]  # b had made room for c; a was used since
    recent.put("a", "new")
    assert (get("a"), len(recent)) == ("new", 2)


def test_memory_is_freed_before_the_next_value_needs_it() -> None:
    freed: list[int] = []
    recent: Recent[str, str] = Recent(1, on_removed=lambda: freed.append(len(recent)))
    recent.get("a", lambda: "A")
    recent.get("b", lambda: f"{len(recent)} in memory")
    assert recent.get("b", str) == "0 in memory"
    assert freed == [0]


def test_a_key_describes_its_value() -> None:
    asked = Asked(data="/pairs/Ä '😀'.csv", k=5)
    assert read_key(Asked, write_key(asked), "") == asked


@pytest.mark.parametrize("key", ["", "opened 1", "[]", '{"data": 1}', '{"data": "", "x": 1}'])
def test_an_invalid_key_is_answered_with_the_remedy(key: str) -> None:
    with pytest.raises(UserError, match=r"^open it first\.$"):
        read_key(Asked, key, "open it first.")
