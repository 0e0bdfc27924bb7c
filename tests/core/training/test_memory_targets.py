"""Targets from a memory: what the student made of each pair before teaches it, and no teacher is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from core.objectives.captioning import next_words
from core.spec.config import RunConfig, override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.teacher.ema import EmaTeacher
from core.training.train import train
from tests.core.data.sources.shards.tars import write_shards
from tests.core.training.test_accumulation import data
from tests.core.training.test_train_step import opened

__all__ = ["data"]  # the fixture


def lean(data: Path, *settings: str, preset: str = "sd-clip-lean") -> RunConfig:
    paths = [f"data.train={data}", "optim.batch_size=12", "runtime.threads=1", "optim.epochs=3"]
    return override(preset_config(preset, "tiny"), [*paths, *settings])


@pytest.fixture
def _nobody_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher that is asked for its targets fails the test."""

    def asked(*arguments: object) -> None:
        raise AssertionError("no teacher is asked")

    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(EmaTeacher, "targets", asked)


@pytest.mark.usefixtures("_nobody_asked")
def test_a_step_learns_from_the_last_pass_over_the_same_pairs(data: Path, tmp_path: Path) -> None:
    """The losses of the second pass, in plain terms: similarities and trust of the features of the first."""
    settings = ("objectives.distill_similarity.ramp=0", "belief.refresh=100", "belief.trust_by=teacher")
    with opened(lean(data, *settings), tmp_path / "run") as loop:
        each = loop.parts.loader.steps_per_epoch
        kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        compared = 0
        for batch in loop.parts.loader.batches(0, 2 * each):
            with torch.no_grad():
                output = loop.network.forward_student(batch)
            image, text, scale = output.clean.image, output.text, float(output.logit_scale)
            rows = batch.rows.tolist()
            before = [kept.get(row, (image[i], text[i])) for i, row in enumerate(rows)]
            then = torch.stack([a for a, _ in before]), torch.stack([b for _, b in before])
            compared += sum(row in kept for row in rows)
            ours, theirs = scale * image @ text.T, scale * then[0] @ then[1].T
            divergence = [
                F.kl_div(a.log_softmax(1), b.softmax(1), reduction="batchmean")
                for a, b in ((ours, theirs), (ours.T, theirs.T))
            ]
            chance = (theirs.softmax(1).diagonal() * theirs.softmax(0).diagonal()) ** 0.25
            weight = chance / chance.mean()
            pairs = torch.arange(len(rows))
            wanted = [
                (F.cross_entropy(logits, pairs, reduction="none") * weight).sum() / weight.sum()
                for logits in (ours, ours.T)
            ]
            values = loop.train_step(batch)
            assert float(values["train/contrastive"]) == pytest.approx(float(sum(wanted) / 2), rel=2e-3)
            assert float(values["train/distill_similarity"]) == pytest.approx(
                float(sum(divergence) / 2), rel=2e-2, abs=1e-4
            )
            for i, row in enumerate(rows):
                kept[row] = image[i], text[i]
        assert compared > each


@pytest.mark.usefixtures("_nobody_asked")
def test_lean_captions_count_as_their_pairs_are_trusted_and_no_teacher_is_asked(data: Path, tmp_path: Path) -> None:
    """The first loss of captions, in plain terms: each word by its pair's probability, both ways, to the power 1/4."""

    with opened(lean(data, preset="sd-coca-lean"), tmp_path / "run") as loop:
        batch = next(loop.parts.loader.batches(0, 1))
        network = loop.network
        with torch.no_grad():
            output = network.forward_student(batch)
            words = next_words(network, batch.on_host.texts, output.image_features[0], output.text_features, "decoder")
        logits = output.logit_scale * output.clean.image @ output.text.T
        trust = (logits.softmax(1).diagonal() * logits.softmax(0).diagonal()) ** 0.25
        losses = F.cross_entropy(words.logits.float(), words.labels, reduction="none")
        each = (trust / trust.mean())[words.pairs]
        values = loop.train_step(batch)
        assert float(values["train/captioning"]) == pytest.approx(float((losses * each).sum() / each.sum()), rel=1e-3)
        assert float(values["train/captioning"]) != pytest.approx(float(losses.mean()), rel=1e-3)
        assert len(batch.student) == len(batch.teacher) == 0


def test_the_average_is_kept_beside_and_a_memory_over_shards_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))
    with opened(lean(data, "teacher.momentum=0.5"), tmp_path / "run") as loop:
        for batch in loop.parts.loader.batches(0, 3):
            loop.train_step(batch)
        assert loop.teacher is not None
        theirs, ours = dict(loop.teacher.network.named_parameters()), dict(loop.network.named_parameters())
        assert any(not torch.equal(theirs[name], ours[name]) for name in ours)
    pattern = write_shards(tmp_path / "shards", [8, 8])  # a folder, whose name does not say that shards are in it
    with pytest.raises(UserError, match="set it to pass"):
        train(lean(Path(pattern).parent), RunDir(tmp_path / "other"), quiet=True)
