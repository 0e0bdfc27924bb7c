"""``import core`` in a notebook: light by itself, and then models, runs and tables as Python objects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import core
from core.spec import installed
from core.spec.children import environment
from core.spec.run.events import EventReader, EventWriter, Metrics, RunStarted
from core.spec.run.folder import RunDir
from tests.core.caption_models import COCA, save_model
from tests.core.images import write_pairs

LIGHT = (
    "import core, sys; print([m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules], 'encode' in dir(core))"
)


def test_importing_the_package_loads_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"
    with pytest.raises(AttributeError, match="no attribute 'open_modle'"):
        _ = core.open_modle  # type: ignore[attr-defined]


def test_a_run_from_preset_to_table(tmp_path: Path) -> None:
    pairs, held_out = write_pairs(tmp_path / "pairs")
    settings = {"data.train": pairs, "data.val": held_out, "optim.epochs": 1, "optim.batch_size": 12, "data.workers": 0}
    config = core.preset("clip", "tiny", settings)
    assert (config.optim.epochs, config.data.train) == (1, str(pairs))
    with pytest.raises(core.UserError, match=r"optim\.epochs"):
        core.preset("clip", "tiny", {"optim.epoch": 2})
    assert core.train(config, tmp_path / "run", quiet=True) == "done"

    frame = core.read_run(tmp_path / "run")
    assert list(frame["train/loss"].dropna().index) == [1, 2, 3]
    assert frame.attrs["config"]["preset"] == "clip"
    assert frame.filter(like="val/student/").dropna(how="all").shape[0] >= 1
    assert core.open_model(str(tmp_path / "run")).subject.weights == "student"


def test_a_model_gives_vectors_captions_and_an_evaluation(tmp_path: Path) -> None:
    pairs, _ = write_pairs(tmp_path / "pairs")
    model = core.open_model(str(save_model(tmp_path / "model", COCA)))
    files = sorted(pairs.parent.rglob("*.png"))[:5]
    vectors = core.encode(model, images=files)
    assert vectors.shape[0] == 5
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    words = core.encode(model, texts=["a red disc", "a blue square"])
    assert (vectors @ words.T).shape == (5, 2)
    assert np.allclose(core.encode(model, texts="a red disc"), words[:1], atol=1e-5)
    captions = core.caption(model, files[:2], beams=2, max_tokens=4)
    assert len(captions) == 2
    report = core.evaluate(model, pairs, "retrieval")
    assert 0 <= report.metrics["image_to_text_R@5"] <= 1
    assert "retrieval" in str(report)
    with pytest.raises(core.UserError, match=r"no\.png"):
        core.encode(model, images=[tmp_path / "no.png"])
    with pytest.raises(ValueError, match="either images or texts"):
        core.encode(model)


def test_mistakes_raise_user_errors(tmp_path: Path) -> None:
    pairs, _ = write_pairs(tmp_path / "pairs")
    with pytest.raises(core.UserError, match=r"teecher: there is no such field; did you mean teacher"):
        core.train({"teecher": {"kind": "ema"}}, tmp_path / "run")
    with pytest.raises(core.UserError, match=r"config must be a RunConfig, such as core\.preset"):
        core.train("sd-clip", tmp_path / "run")  # type: ignore[arg-type]
    with pytest.raises(core.UserError, match="did you mean sd-clip"):
        core.preset("sd-clp")
    model = core.open_model(save_model(tmp_path / "model", COCA))
    image = Image.new("RGB", (32, 32))
    for ask in (lambda: core.encode(model, images=[image]), lambda: core.caption(model, image)):
        with pytest.raises(core.UserError, match=r"must be paths; <PIL.* is not one\. Save the image to a file"):
            ask()
    with pytest.raises(core.UserError, match=r"no option 'shotts'; did you mean shots"):
        core.evaluate(model, pairs, "zero-shot", shotts=(1,))
    assert not (tmp_path / "run").exists()


def test_a_dict_trains_and_a_misspelled_network_is_named(tmp_path: Path) -> None:
    pairs, _ = write_pairs(tmp_path / "pairs")
    config = core.preset("sd-clip", "tiny", {"data.train": pairs, "optim.epochs": 0.25, "optim.batch_size": 8})
    assert core.train(config.model_dump(mode="json"), tmp_path / "run", quiet=True) == "done"
    with pytest.raises(core.UserError, match=r"no network 'techer'; did you mean teacher\?"):
        core.open_model(tmp_path / "run", "techer")


def test_a_table_has_the_valid_points_of_a_resumed_run(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.config.write_text(core.preset("clip", "tiny").to_json(), encoding="utf-8")
    writer = EventWriter(run.events)
    for start, stop in ((0, 3), (1, 2)):  # killed after step 3, its last checkpoint is of step 1
        writer.write(RunStarted(step=start, total_steps=3, config_digest=""))
        for step in range(start + 1, stop + 1):
            writer.write(Metrics(step=step, values={"train/loss": float(10 * start + step)}))
    writer.close()
    assert len(EventReader(run.events).read_all()) == 6
    assert core.read_run(tmp_path)["train/loss"].to_dict() == {1: 1.0, 2: 12.0}


def test_missing_pandas_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda _name: None)
    with pytest.raises(core.UserError, match=r"Pandas is not installed.*\[notebook\]"):
        core.read_run(tmp_path)
