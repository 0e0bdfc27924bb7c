"""For tests of core that train."""

from __future__ import annotations

import pytest


@pytest.fixture
def shared_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are decoded once for all tests of this process."""
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
