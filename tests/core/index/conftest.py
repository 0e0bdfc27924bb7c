"""The untrained model is made once for all tests of an index."""

from __future__ import annotations

import functools

import pytest

from core.index import encoding
from core.opening import open_model

_once = functools.cache(open_model)


@pytest.fixture(autouse=True)
def one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening it again gives the same one."""
    monkeypatch.setattr(encoding, "open_model", _once)
