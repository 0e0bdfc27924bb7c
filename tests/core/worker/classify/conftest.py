"""A small run on labelled pairs, and a desk that has opened its data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.spec.config import override
from core.spec.run.folder import RunDir
from core.training.train import train
from tests.core.labelled import write_labelled
from tests.core.variants import variant_config
from tests.core.worker.classify.desk_helpers import Answer, Desk


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs/, a run trained on them and a cache."""
    folder = tmp_path_factory.mktemp("classify")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDGUI_CACHE_DIR", str(folder / "cache"))
        train_data, val_data = write_labelled(folder / "pairs")
        data = [f"data.train={train_data}", f"data.val={val_data}"]
        settings = ["optim.batch_size=12", "optim.epochs=2", "validation.batch_size=12"]
        train(override(variant_config("sd-clip-every-step"), [*data, *settings]), RunDir(folder / "run"), quiet=True)
    return folder


@pytest.fixture(scope="module")
def place(trained: Path) -> Iterator[Path]:
    """The same folder, whose cache is used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDGUI_CACHE_DIR", str(trained / "cache"))
        yield trained


@pytest.fixture(scope="module")
def run(place: Path) -> str:
    return str(place / "run")


@pytest.fixture(scope="module")
def val(place: Path) -> str:
    return str(place / "pairs" / "labelled-val.csv")


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk()


@pytest.fixture(scope="module")
def opened(desk: Desk, run: str, val: str) -> Answer:
    return desk.ask("open", model=run, data=val, label="colour")


@pytest.fixture(scope="module")
def probed(desk: Desk, opened: Answer) -> Answer:
    return desk.ask("probe", opened=opened["opened"])
