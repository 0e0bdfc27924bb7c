"""For tests of core that train."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from core.spec.children import SOURCE
from core.tracking import provenance
from core.tracking.git import WorkingTree, working_tree


@pytest.fixture
def shared_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are decoded once for all tests of this process."""
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session", autouse=True)
def own_working_tree() -> Iterator[None]:
    """Git reports on this checkout once per process, not six times per training: no test changes it."""
    ours = cache(working_tree)

    def report(folder: Path) -> WorkingTree | None:
        return ours(folder) if folder == SOURCE else working_tree(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "working_tree", report)
        yield
