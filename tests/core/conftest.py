"""For tests of core that train."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from core.spec.children import SOURCE_FOLDER
from core.tracking import provenance
from core.tracking.git import WorkingTree, working_tree

POLLS = {  # module, constant: a test need not wait as long as a user would not notice
    ("core.cli.local_runs", "_POLL_INTERVAL_S"): 0.02,
    ("core.cli.local_runs", "_STATE_INTERVAL_S"): 0.1,
    ("core.studies.study.budgets", "_POLL_SECONDS"): 0.02,
    ("core.studies.study.places.remote_step", "_POLL_SECONDS"): 0.05,
    ("core.studies.study.queue", "POLL_SECONDS"): 0.05,
    ("core.tracking.foreign.importing", "POLL_SECONDS"): 0.05,
    ("core.tracking.foreign.mirrors", "POLL_SECONDS"): 0.05,
}


@pytest.fixture
def shared_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are decoded once for all tests of this process."""
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session", autouse=True)
def own_working_tree() -> Iterator[None]:
    """Git reports on this checkout once per process, not six times per training: no test changes it."""
    ours = cache(working_tree)

    def report(folder: Path) -> WorkingTree | None:
        return ours(folder) if folder == SOURCE_FOLDER else working_tree(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "working_tree", report)
        yield


@pytest.fixture(scope="session", autouse=True)
def frequent_polls() -> Iterator[None]:
    """Of modules that tests have imported: loading the others takes longer than a quick test."""
    with pytest.MonkeyPatch.context() as patch:
        for (module, constant), value in POLLS.items():
            if module in sys.modules:
                patch.setattr(sys.modules[module], constant, value)
        yield
