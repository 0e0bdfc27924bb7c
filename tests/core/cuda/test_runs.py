"""Runs on a GPU: resumed there and elsewhere, beside another, out of memory; and what is done with them."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from core.__main__ import main
from core.checkpoint.opening import open_model
from core.inference.captioning import CaptionModel
from core.spec.config import RunConfig, override
from core.spec.run.events import EventReader, Metrics
from core.spec.run.folder import RunDir
from core.spec.run.model_names import resolve
from core.training.errors import TrainingError
from core.training.train import train
from core.training.train_step import StepLosses
from core.worker.captioning import CaptionSession
from tests.core.cuda.device import DEVICE, ON_GPU, preset_on
from tests.core.run_files import weights as tensors

pytestmark = pytest.mark.cuda
STEPS, SAVED = 8, 4


def run_config(name: str, source: Path, former: Path, device: str = DEVICE) -> RunConfig:
    settings = (f"checkpoint.every_steps={SAVED}", "checkpoint.keep=2", "optim.epochs=1", f"data.val={source}")
    return preset_on(device, name, source, former, *settings)


@pytest.fixture(scope="module")
def coca(source: Path, former: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A trained sd-coca: it encodes, captions, and remembers its pairs."""
    run = RunDir(tmp_path_factory.mktemp("cuda-coca") / "run")
    assert train(run_config("sd-coca-every-step", source, former), run, quiet=True) == "done"
    return run


def losses(run: RunDir) -> dict[int, float]:
    events = EventReader(run.events).read_all()
    return {event.step: event.values["train/loss"] for event in events if isinstance(event, Metrics)}


@pytest.mark.parametrize("device", [DEVICE, "cpu"])
def test_a_run_resumes_on_either_device(device: str, coca: RunDir, source: Path, former: Path, tmp_path: Path) -> None:
    run, saved = RunDir(tmp_path / "run"), f"step-{SAVED:08d}"
    run.create()
    shutil.copytree(coca.checkpoints / saved, run.checkpoints / saved)
    before = tensors(run, saved)
    assert train(run_config("sd-coca-every-step", source, former, device), run, quiet=True) == "done"
    ours, theirs = losses(run), losses(coca)
    assert list(ours) == list(range(SAVED + 1, STEPS + 1))
    assert ours[SAVED + 1] == pytest.approx(theirs[SAVED + 1], rel=1e-3)  # views are distorted by either device
    assert list(ours.values()) == pytest.approx([theirs[step] for step in ours], rel=0.02)
    after = tensors(run, resolve(run, "last"))
    assert after.keys() - {"state.rng.cuda"} == before.keys() - {"state.rng.cuda"}


def test_a_report_includes_device_utilisation(coca: RunDir) -> None:
    events = [event for event in EventReader(coca.events).read_all() if isinstance(event, Metrics)]
    assert [event.step for event in events] == list(range(1, STEPS + 1))
    assert all(event.values["runtime/memory_gib"] > 0 for event in events)
    assert all(0 <= event.values["runtime/data_wait"] <= 1 for event in events)


def test_network_outputs_match_the_cpu(coca: RunDir) -> None:
    model = open_model(str(coca.path))
    assert model.runtime.device.type == DEVICE
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    tokens = model.network.towers.tokenize(["an image", "and more of it, number 3"])
    here = copy.deepcopy(model.network).cpu()
    with torch.no_grad():
        for given, name in ((images, "encode_images"), (tokens, "encode_texts")):
            found = getattr(model.network, name)(given.to(DEVICE)).cpu()
            torch.testing.assert_close(found, getattr(here, name)(given), atol=1e-4, rtol=1e-4)


def test_every_verb_answers(coca: RunDir, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(coca.path), "--data", str(source), "--task", "retrieval", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert main(["index", str(coca.path), str(source.parent), str(tmp_path / "index")]) == 0
    capsys.readouterr()
    assert main(["search", str(tmp_path / "index"), "--text", "an image", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert main(["caption", str(coca.path), *map(str, sorted(source.parent.glob("1*.png")))]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(list(source.parent.glob("1*.png")))
    assert main(["noise", str(coca.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == 48


def exhaust() -> None:
    """Ask the device for more memory than it has; on a CPU, say what torch says there."""
    if not ON_GPU:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
    torch.empty(4 * torch.cuda.get_device_properties(0).total_memory, dtype=torch.uint8, device=DEVICE)


def test_a_worker_captions_smaller_batches_when_memory_runs_out(
    coca: RunDir, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, sizes = CaptionModel.captions, []

    def scarce(self: CaptionModel, images: torch.Tensor, *given: Any) -> Any:
        sizes.append(len(images))
        if len(images) > 3:
            exhaust()
        return original(self, images, *given)

    monkeypatch.setattr(CaptionModel, "captions", scarce)
    paths = [str(path) for path in sorted(source.parent.glob("*.png"))[:12]]
    answers: list[Any] = []

    class Progress:
        def __call__(self, doing: str, done: int, total: int) -> None:
            """Nothing to show."""

        def partial(self, answer: Any) -> None:
            answers.append(answer)

    CaptionSession().caption(Progress(), str(coca.path), paths)  # type: ignore[arg-type]
    assert max(sizes) > 3
    assert [answer["index"] for answer in answers if "captions" in answer] == list(range(len(paths)))


def test_a_step_out_of_memory_names_the_batch_that_fits(
    source: Path, former: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = StepLosses.__call__

    def scarce(self: StepLosses, batch: Any, step: int) -> Any:
        if len(batch.rows) > 3:
            exhaust()
        return original(self, batch, step)

    monkeypatch.setattr(StepLosses, "__call__", scarce)
    with pytest.raises(TrainingError, match=r"out of memory .*batch_size 6; 3 fits"):
        train(run_config("sd-clip-every-step", source, former), RunDir(tmp_path / "run"), quiet=True)


def test_two_runs_share_a_gpu(source: Path, former: Path, tmp_path: Path) -> None:
    started = []
    for number in range(2):
        config = tmp_path / f"{number}.json"
        seeded = override(run_config("sd-clip-every-step", source, former), [f"seed={number}"])
        config.write_text(seeded.to_json(), encoding="utf-8")
        command = [sys.executable, "-m", "core", "train", str(config), str(tmp_path / f"run-{number}")]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, cwd=Path(__file__).parents[3]))
    for number, process in enumerate(started):
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said.decode()
        assert len(losses(RunDir(tmp_path / f"run-{number}"))) == STEPS
