"""For every test: no screen is needed, nothing of the user's is touched, and one thread computes.

The suite is run by one process per core (``-n logical``); threads of their own, and of the programs they start, would
only wait for each other.
"""

from __future__ import annotations

import faulthandler
import gc
import itertools
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # before Qt is loaded by any test
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch, scikit-learn and faiss are
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # programs that tests start are compiled once, as a user's are
sys.dont_write_bytecode = False
ABSENT = Path(__file__).parent / "absent"  # what only tests need, programs that they start do without
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ABSENT), os.environ.get("PYTHONPATH"))))


os.fsync = lambda _file: None  # no power cut is simulated, and each call would wait 5 to 10 ms for the disk
# No deadline: a busy machine is no fault of the example.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=25)
hypothesis.settings.register_profile("thorough", deadline=None)


@pytest.fixture(scope="session")
def next_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Names of folders; numbers that pytest looks for among thousands of others' take longer than many a test."""
    root = tmp_path_factory.mktemp("users")
    return (root / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def user_folders(next_user: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders in which a program keeps a user's data, empty and gone after the test."""
    folder = next(next_user)
    folder.mkdir()
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(folder))
    return folder


@pytest.fixture(autouse=True)
def collected_here() -> Iterator[None]:
    """The main thread collects, as in the window; see ``sdgui.app.collecting``."""
    yield
    if not gc.isenabled():
        due = [count > limit > 0 for count, limit in zip(gc.get_count(), gc.get_threshold(), strict=True)]
        if any(due):
            gc.collect(max(generation for generation in range(3) if due[generation]))


@pytest.fixture(autouse=True)
def slow_tests_have_no_time_limit(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("slow") is not None:
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def same_draws_in_any_order() -> None:
    """What objectives draw for a whole batch does not depend on the tests before."""
    if (draws := sys.modules.get("core.ranks.draws")) is not None:
        draws.shared_generator.manual_seed(0)


def pytest_configure(config: pytest.Config) -> None:
    """The long checks draw four times as many examples as the quick ones (hypothesis' own default, 100)."""
    hypothesis.settings.load_profile("quick" if config.option.markexpr in ("not slow and not ci", "ci") else "thorough")


def pytest_collection_finish() -> None:
    """What was imported lives on: a full round of garbage collection need not walk it.

    From here on ``collected_here`` collects: a collection in a background thread would delete widgets and timers there,
    which crashes the event loop.
    """
    gc.collect()
    gc.freeze()
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    on_gpu = [item for item in items if item.get_closest_marker("cuda") is not None]
    if on_gpu and "SDGUI_TEST_DEVICE" not in os.environ and not import_module("torch").cuda.is_available():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="there is no CUDA GPU here"))
