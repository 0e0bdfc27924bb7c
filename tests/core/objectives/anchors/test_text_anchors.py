"""Text anchors: the texts of a file or data set keep the features that the initial weights give them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.checkpoint.opening import open_network
from core.data.errors import DataError
from core.model.eval_mode import evaluating
from core.objectives.anchors import text_anchors
from core.objectives.anchors.text_anchors import TextAnchors, read_texts
from core.spec.config import RunConfig, override
from core.spec.config.contradictions import problems
from core.spec.presets import preset_config
from core.spec.run.events import EventReader, Metrics
from core.spec.run.folder import RunDir
from core.spec.run.model_names import locate
from core.training.train import train
from tests.core.objectives.anchors.expected_losses import check_losses
from tests.core.training.test_train import StopAt
from tests.core.training.test_train_step import opened

CPU = torch.device("cpu")
TEXTS = ["a red square", "a small blue circle on the left", "a triangle", "green", "nothing at all"]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join([*TEXTS, "", f"  {TEXTS[0]} "]))
    return path


def tuning(data: Path, base: Path, texts: Path, *settings: str) -> RunConfig:
    common = [f"data.train={data}", f"towers.pretrained={base}", "optim.batch_size=12", "runtime.threads=1"]
    anchored = ["objectives.text_anchors.weight=3", f"objectives.text_anchors.source={texts}"]
    per_step = "objectives.text_anchors.per_step=4"
    return override(
        preset_config("clip", "tiny"), [*common, *anchored, per_step, "optim.learning_rate=0.01", *settings]
    )


def test_the_loss_is_the_distance_to_the_initial_features(data: Path, base: Path, texts: Path, tmp_path: Path) -> None:
    """Of the texts drawn in each step, encoded one by one."""
    initial = open_network(locate(str(base)), CPU)
    with opened(tuning(data, base, texts), tmp_path / "run") as loop:
        assert not loop.parts.objectives.state_dict(), "a checkpoint has no texts"
        check_losses(loop, initial, "text_anchors", [loop.network.towers.tokenize([text]) for text in TEXTS])


def test_anchored_texts_move_less(data: Path, base: Path, texts: Path, tmp_path: Path) -> None:
    initial = open_network(locate(str(base)), CPU)
    moved = []
    for weight in (0, 30):
        config = tuning(data, base, texts, f"objectives.text_anchors.weight={weight}")
        with opened(config, tmp_path / str(weight)) as loop, torch.no_grad():
            for batch in loop.parts.loader.batches(0, loop.total_steps):
                with torch.enable_grad():
                    loop.train_step(batch)
            tokens = loop.network.towers.tokenize(TEXTS)
            with evaluating(loop.network), evaluating(initial):
                difference = loop.network.encode_texts(tokens) - initial.encode_texts(tokens)
            moved.append(float(difference.square().sum(1).mean()))
    assert moved[1] < moved[0] / 2


def test_a_resumed_run_has_the_same_anchors(
    data: Path, base: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tuning(data, base, texts, "optim.epochs=3", "runtime.log_every=1")
    whole, halves = RunDir(tmp_path / "whole"), RunDir(tmp_path / "halves")
    assert train(config, whole, quiet=True) == "done"
    with monkeypatch.context() as patch:
        StopAt(patch, 4, "stop")
        assert train(config, halves, quiet=True) == "stopped"
    assert train(config, halves, quiet=True) == "done"

    def losses(run: RunDir) -> dict[int, float]:
        events = EventReader(run.events).read_all()
        return {event.step: event.values["train/text_anchors"] for event in events if isinstance(event, Metrics)}

    assert losses(halves) == losses(whole)


def test_texts_are_lines_or_captions(data: Path, texts: Path) -> None:
    assert read_texts(str(texts)) == TEXTS, "distinct, without empty lines"
    captions = [line.split(",")[1] for line in data.read_text().splitlines()[1:]]
    assert read_texts(str(data)) == list(dict.fromkeys(captions))


@pytest.mark.parametrize("content", [b"", b" \n\n", b"\xff\xfe\xff"])
def test_unusable_texts_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"texts\.txt"):
        read_texts(str(path))
    with pytest.raises(DataError, match="missing"):
        read_texts(str(tmp_path / "missing.txt"))


def test_of_very_many_texts_some_are_drawn(
    data: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_anchors, "MAX_TEXTS", 10)
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(f"a text {number}" for number in range(50)))
    network = open_network(locate(str(base)), CPU)
    drawn = []
    seen: list[tuple[str, int, int]] = []
    for seed in (0, 0, 1):
        config = tuning(data, base, path, f"seed={seed}")
        anchors = TextAnchors(config.objectives.text_anchors)
        anchors.prepare(network, config, lambda *progress: seen.append(progress))
        drawn.append(anchors.inputs.tolist())
    assert seen == 3 * [("encoding text anchors", 10, 10)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_anchors_need_is_named(data: Path, base: Path, texts: Path) -> None:
    config = tuning(data, base, texts)
    assert problems(config) == {}
    without = config.model_dump(mode="json")
    without["towers"]["pretrained"] = without["objectives"]["text_anchors"]["source"] = ""
    assert set(problems(RunConfig.model_validate(without))) == {"towers.pretrained", "objectives.text_anchors.source"}
