"""All tests of core.ranks share one image cache."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_cache(shared_cache: None) -> None:
    """No test sees the user's cache."""
