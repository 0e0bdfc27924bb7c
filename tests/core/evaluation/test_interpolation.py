"""Weights between a fine-tuned model and the one it started from: opened, evaluated, chosen, exported."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from core.__main__ import main
from core.checkpoint import files
from core.checkpoint.interpolating import ENDPOINTS
from core.checkpoint.opening import model_key, open_model
from core.evaluation.interpolation import choose_point, interpolation_path
from core.spec.config import override, read_config
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.model_names import RunNetwork, exact_name, locate
from core.spec.run.weight_path import GAIN_SET, PATH_FILE, PathPoint
from core.training.train import train
from core.worker.interpolating import InterpolationSession
from tests.core.images import write_pairs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def runs(data: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A base, and what it became by fine-tuning, with a head that the base has not."""
    folder = tmp_path_factory.mktemp("runs")
    common = [f"data.train={data[0]}", "optim.batch_size=12", "runtime.threads=1", "optim.epochs=2"]
    base, tuned = RunDir(folder / "base"), RunDir(folder / "tuned")
    assert train(override(preset_config("clip", "tiny"), common), base, quiet=True) == "done"
    own = [*common, f"towers.pretrained={base.path}", f"data.val={data[1]}", f"data.retain=old={data[0]}"]
    head = ["objectives.distill_features.distance=contrast", "optim.learning_rate=0.01"]
    config = override(preset_config("sd-clip-adapt", "tiny"), [*own, *head])
    assert train(config, tuned, quiet=True) == "done"
    tuned.config.write_text(config.to_json())
    base.config.write_text(override(preset_config("clip", "tiny"), common).to_json())
    return base.path, tuned.path


def weights(name: str) -> dict[str, torch.Tensor]:
    return dict(open_model(name).network.state_dict())


def test_weights_are_interpolated_between_start_and_run(runs: tuple[Path, Path]) -> None:
    alpha = 0.3
    base, tuned = (weights(str(path)) for path in runs)
    found = weights(f"interpolated:{runs[1]}@{alpha}")
    assert "heads.distill_features.log_scale" in found.keys() - base.keys()
    assert not torch.allclose(base["towers.clip.visual.proj"], tuned["towers.clip.visual.proj"], atol=1e-3)
    for name, value in found.items():
        ends = [one[name].flatten()[:50].tolist() for one in (base if name in base else tuned, tuned)]
        wanted = [(1 - alpha) * a + alpha * b for a, b in zip(*ends, strict=True)]
        assert value.flatten()[:50].tolist() == pytest.approx(wanted, abs=1e-6), name


def test_another_model_can_be_named_and_the_name_stays_valid(runs: tuple[Path, Path]) -> None:
    name = f"interpolated:{runs[0]};{runs[1]}@0.25"
    exact, network = exact_name(name)
    assert network == "student"
    assert exact_name(exact, network) == (exact, network)
    assert model_key(name) == model_key(exact, network) != model_key(f"interpolated:{runs[0]};{runs[1]}@0.5")
    base, tuned = (weights(str(path))["towers.clip.visual.proj"] for path in runs)
    assert torch.allclose(weights(exact)["towers.clip.visual.proj"], 0.25 * base + 0.75 * tuned, atol=1e-6)


def test_a_further_alpha_reads_no_file_and_leaves_the_other_networks_as_they_are(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ENDPOINTS, "is_enabled", True)
    monkeypatch.setattr(ENDPOINTS, "_last", None)
    reads: list[str] = []
    load = files.load_weights
    monkeypatch.setattr(files, "load_weights", lambda run, *rest: reads.append(str(run.path)) or load(run, *rest))
    first = open_model(f"interpolated:{runs[1]}@0.25").network
    before = {name: value.clone() for name, value in first.state_dict().items()}
    assert sorted(reads) == sorted(map(str, runs))
    second = weights(f"interpolated:{runs[1]}@0.75")
    assert sorted(reads) == sorted(map(str, runs))
    assert all(torch.equal(value, before[name]) for name, value in first.state_dict().items())
    base, tuned = (weights(str(path))["towers.clip.visual.proj"] for path in runs)
    assert torch.allclose(second["towers.clip.visual.proj"], 0.25 * base + 0.75 * tuned, atol=1e-6)
    source = locate(str(runs[0]))
    assert isinstance(source, RunNetwork)
    os.utime(source.path)
    reads.clear()
    weights(f"interpolated:{runs[1]}@0.5")
    assert len(reads) == 2  # its weights were written again


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("interpolated:{tuned}", "0 to 1"),
        ("interpolated:{tuned}@nan", "0 to 1"),
        ("interpolated:{tuned}/nothing@0.5", "no run"),
        ("interpolated:{base}@0.5", "from scratch"),
        ("interpolated:{tuned};interpolated:{tuned}@0.1@0.5", "is an interpolated model"),
        ("interpolated:{tuned};open_clip:sd-coca-tiny@0.5", "architecture"),
    ],
)
def test_models_that_cannot_be_interpolated_are_reported(name: str, words: str, runs: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match=words):
        open_model(name.format(base=runs[0], tuned=runs[1]))


def test_the_path_equals_models_opened_one_by_one(
    runs: tuple[Path, Path], data: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    points = interpolation_path(str(runs[1]), str(data[1]), {"old": str(data[0])}, (0.5, 1.0), _quiet, _silent)
    assert [one.alpha for one in points] == [0.0, 0.5, 1.0]
    for point, name, path in ((points[1], GAIN_SET, data[1]), (points[2], "old", data[0])):
        shown = ["evaluate", f"interpolated:{runs[1]}@{point.alpha}", "--task", "retrieval", "--data", str(path)]
        assert main([*shown, "--json"]) == 0
        metrics = json.loads(capsys.readouterr().out)["metrics"]
        assert metrics["mean_recall"] == pytest.approx(point.metrics[name]["mean_recall"])
    assert main(["interpolate", str(runs[1]), "--steps", "2", "--keep", "0.5"]) == 0
    chosen = capsys.readouterr().out.splitlines()[-1]
    written = json.loads((runs[1] / "interpolation.json").read_text())
    tuned_config, base_config = (read_config(RunDir(path).config) for path in reversed(runs))
    assert chosen == f"interpolated:{runs[1]}@{written['alpha']:g}"
    assert [one["metrics"] for one in written["points"]] == [one.metrics for one in points]
    assert main(["export", chosen, str(tmp_path / "out"), "--format", "open_clip"]) == 0
    exported = load_file(next((tmp_path / "out").glob("*.safetensors")))
    wanted = weights(chosen)
    assert torch.allclose(exported["visual.proj"], wanted["towers.clip.visual.proj"])
    card = (tmp_path / "out" / "README.md").read_text()
    alpha = written["alpha"]
    assert f"{alpha:g} times {tuned_config.name} (student" in card
    assert f"{1 - alpha:g} times {base_config.name} (student" in card


def test_a_worker_writes_the_same_path_and_can_be_cancelled(runs: tuple[Path, Path]) -> None:
    file, session, reports = runs[1] / PATH_FILE, InterpolationSession(), list[tuple[str, int, int]]()
    assert main(["interpolate", str(runs[1]), "--keep", "0.5"]) == 0
    written = file.read_text()
    file.unlink()

    def stop(doing: str, done: int, total: int) -> None:
        if done > total / 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        session.interpolate(stop, f"{runs[1]}@best", keep=0.5)
    assert not file.exists()
    answer = session.interpolate(lambda *report: reports.append(report), f"{runs[1]}@best", keep=0.5)
    assert file.read_text() == written
    assert answer == {"alpha": json.loads(written)["alpha"], "notes": []}
    evaluated = [report for report in reports if report[0].startswith("evaluating alpha")]
    assert [done for _, done, _ in evaluated] == sorted(done for _, done, _ in evaluated)
    assert evaluated[-1][0] == "evaluating alpha 1"
    assert evaluated[-1][1] == evaluated[-1][2]
    with pytest.raises(UserError, match=r"the share to keep is 1.5; use a number from 0 to 1"):
        session.interpolate(_quiet, str(runs[1]), keep=1.5)
    with pytest.raises(UserError, match="gain is the name of the new data; use another for retained data"):
        interpolation_path(str(runs[1]), "/new", {"gain": "/old"}, (1.0,), _quiet, _silent)
    with pytest.raises(UserError, match="does not contain this data; specify --gain"):
        session.interpolate(_quiet, str(runs[0]))


def test_the_chosen_point_gains_most_with_enough_retention() -> None:
    def point(alpha: float, gain: float, old: float, other: float) -> PathPoint:
        scores = {GAIN_SET: gain, "old": old, "other": other}
        return PathPoint(alpha, {name: {"mean_recall": value} for name, value in scores.items()})

    points = [
        point(0, 0.1, 0.8, 0.4),
        point(0.5, 0.3, 0.76, 0.36),
        point(0.8, 0.5, 0.72, 0.39),
        point(1, 0.6, 0.4, 0.4),
    ]
    assert [choose_point(points, keep).alpha for keep in (1.0, 0.95, 0.89, 0.5, 0.0)] == [0, 0, 0.8, 1, 1]
    assert points[1].retained(points[0]) == pytest.approx(0.9)


def _quiet(what: str, done: int, total: int) -> None:
    pass


def _silent(message: str) -> None:
    raise AssertionError(message)
