"""Pairs ranked by hand: whose evidence counts, and what a table of them says."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from core.evaluation import noise
from core.evaluation.groups import TwoGroups
from core.evaluation.noise import RankedPair, Ranking, rank_pairs, to_csv
from core.spec.errors import UserError

EVIDENCE = {"student": [0.9, 0.2, 0.6, 0.4], "teacher": [0.7, 0.4, 0.2, 0.8]}


class Dataset:
    """Three images; the middle one could not be read, the last has two captions unless ``single``."""

    def __init__(self, captions: tuple[tuple[str, ...], ...]) -> None:
        self.own = captions
        self.captions = [caption for some in captions for caption in some]

    def __len__(self) -> int:
        return len(self.own)

    def caption_span(self, row: int) -> range:
        first = sum(map(len, self.own[:row]))
        return range(first, first + len(self.own[row]))

    def labels(self, row: int) -> dict[str, str]:
        return {"shuffled": ("0", "1", "?")[row % 3]}

    def path(self, row: int) -> Path:
        return Path(f"/{row}.png")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A run whose networks have EVIDENCE, over images of which row 1 cannot be read; may be changed."""
    (tmp_path / "train.csv").write_text("")
    captions = (("a",), ("b",), ("c",), ("d",), ("e",))
    fake = SimpleNamespace(captions=captions, rows=[0, 2, 3, 4], owner=[0, 1, 2, 3], asked=[])

    def opened(name: str, weights: str) -> Any:
        network = SimpleNamespace(
            name=weights, image_size=8, logit_scale=torch.tensor({"student": 5.0, "teacher": 7.0, "": 5.0}[weights]),
            towers=SimpleNamespace(tokenize=None, pad_id=0),
        )  # fmt: skip
        data = SimpleNamespace(train=str(tmp_path / "train.csv"))
        return SimpleNamespace(network=network, data=data, runtime=None, batch=4, subject=SimpleNamespace(model=name))

    def encoded(network: Any, *rest: Any) -> Any:
        assert (rest[-1] is None) is (network.name == "teacher"), "images are described once"
        if rest[-1] is not None:
            rest[-1](torch.zeros(len(fake.rows), 3, 8, 8, dtype=torch.uint8))
        images = torch.eye(len(fake.rows), 6) + (0.5 if network.name == "teacher" else 0.0)
        owner = torch.tensor(fake.owner)
        return SimpleNamespace(
            images=images, texts=torch.zeros(len(owner), 6), text_to_image=owner, rows=torch.tensor(fake.rows)
        )

    def evidence(images: Tensor, texts: Tensor, scale: float) -> Tensor:
        assert len(images) == len(texts), "an image for each caption"
        fake.asked.append((scale, images.argmax(dim=1).tolist()))
        return torch.tensor(EVIDENCE["student" if scale == 5.0 else "teacher"][: len(texts)])

    monkeypatch.setattr(noise, "open_model", opened)
    monkeypatch.setattr(noise, "open_dataset", lambda *_, **__: Dataset(fake.captions))
    monkeypatch.setattr(noise, "encode_dataset", encoded)
    monkeypatch.setattr(noise, "evidence", evidence)
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000003"
    checkpoint.mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text("{}")
    for name in ("checkpoint.json", "student.safetensors", "teacher.safetensors"):
        (checkpoint / name).write_text("{}")
    fake.model = str(tmp_path / "run")
    return fake


def quiet(doing: str, done: int, total: int) -> None:
    """Nobody watches."""


def beliefs(found: Ranking) -> dict[str, float]:
    return {pair.caption: pytest.approx(pair.match_score) for pair in found.pairs}  # type: ignore[misc]


def test_the_score_is_the_mean_of_both_networks(fake: SimpleNamespace) -> None:
    found = rank_pairs(fake.model, "", quiet)
    assert beliefs(found) == dict(zip("acde", [0.8, 0.3, 0.4, 0.6], strict=True))
    assert [pair.caption for pair in found.pairs] == ["c", "d", "e", "a"]
    assert [pair.rank for pair in found.pairs] == [1, 2, 3, 4]
    assert {pair.caption: (pair.path, pair.shuffled) for pair in found.pairs} == {
        "a": ("/0.png", False), "c": ("/2.png", None), "d": ("/3.png", False), "e": ("/4.png", True),
    }  # fmt: skip
    assert found.model == f"{fake.model}@step-00000003"


def test_one_network_may_score_alone(fake: SimpleNamespace) -> None:
    found = rank_pairs(fake.model, "", quiet, weights="student")
    assert beliefs(found) == dict(zip("acde", EVIDENCE["student"], strict=True))


def test_a_model_with_one_network_ranks_data_that_are_named(fake: SimpleNamespace) -> None:
    found = rank_pairs("open_clip:ViT-B-32,openai", "pairs.csv", quiet)
    assert beliefs(found) == dict(zip("acde", EVIDENCE["student"], strict=True))
    assert (found.model, found.data) == ("open_clip:ViT-B-32,openai", "pairs.csv")


def test_captions_of_one_image_are_scored_separately(fake: SimpleNamespace) -> None:
    fake.captions = (("a", "b"), ("x",), ("c",), ("d",), ())
    fake.rows, fake.owner = [0, 2, 3], [0, 0, 1, 2]
    found = rank_pairs(fake.model, "", quiet)
    assert {pair.caption: pair.row for pair in found.pairs} == {"a": 0, "b": 0, "c": 2, "d": 3}
    assert fake.asked[0] == (5.0, [0, 0, 1, 2])


def test_pairs_are_mislabelled_only_where_there_are_two_groups(
    fake: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is claimed of four pairs; of two groups, those that are likelier of the lower one."""
    found = rank_pairs(fake.model, "", quiet)
    assert (found.groups, found.mismatched) == (1, 0)
    assert {pair.clean_probability for pair in found.pairs} == {None}
    assert [row["clean_probability"] for row in csv.DictReader(io.StringIO(to_csv(found.pairs)))] == [""] * 4
    monkeypatch.setattr(noise, "two_groups", lambda belief: TwoGroups((-1.0, 1.0), (0.1, 0.1), 0.5))
    found = rank_pairs(fake.model, "other.csv", quiet)
    assert (found.groups, found.mismatched, found.summary()["groups"]) == (2, 2, 2)
    assert [pair.clean_probability is not None and pair.clean_probability < 0.5 for pair in found.pairs] == [
        True,
        True,
        False,
        False,
    ]


def test_too_few_pairs_cannot_be_ranked(fake: SimpleNamespace) -> None:
    fake.captions = (("a",), ("b",))
    with pytest.raises(UserError, match="has 2 pairs; ranking needs at least 3"):
        rank_pairs(fake.model, "", quiet)


def pairs(*shuffled: bool | None) -> tuple[RankedPair, ...]:
    return tuple(RankedPair(i, f"/{i}.png", f"c{i}", 0.0, 0.0, i + 1, one) for i, one in enumerate(shuffled))


@pytest.mark.parametrize(
    ("shuffled", "count", "precision"),
    [
        ((True, False, True, False, True, False), 3, 2 / 3),
        ((None, None), None, None),
        ((False, False), 0, None),
        ((True, None, False), 1, 1.0),
    ],
)
def test_precision_is_at_the_number_of_shuffled_pairs(
    shuffled: tuple[bool | None, ...], count: int | None, precision: float | None
) -> None:
    found = Ranking("m", "d", pairs(*shuffled), 0)
    assert (found.shuffled, found.precision()) == (count, precision)


def test_an_exported_table_of_pairs_contains_no_formulas() -> None:
    pair = RankedPair(0, "/a.png", "=1+1", -0.25, 0.5, 1, True)
    rows = list(csv.DictReader(io.StringIO(to_csv([pair, *pairs(None)]))))
    assert rows[0] == {"rank": "1", "match_score": "-0.250000", "clean_probability": "0.500000", "filepath": "/a.png",
                       "title": "'=1+1", "shuffled": "1"}  # fmt: skip
    assert rows[1]["shuffled"] == ""


def test_auc_and_recall_equal_plain_counting() -> None:
    generator = torch.Generator().manual_seed(0)
    beliefs = sorted((torch.randint(0, 6, (12,), generator=generator) / 5).tolist())  # some are alike
    flags = [None, *(bool(x) for x in torch.randint(0, 2, (9,), generator=generator).tolist()), True, False]
    pairs = tuple(RankedPair(i, "", "", b, None, i + 1, f) for i, (b, f) in enumerate(zip(beliefs, flags, strict=True)))
    found = Ranking("m", "d", pairs, 5, 2)
    wrong = [pair.match_score for pair in pairs if pair.shuffled is True]
    right = [pair.match_score for pair in pairs if pair.shuffled is False]
    wins = sum((a < b) + (a == b) / 2 for a in wrong for b in right) / (len(wrong) * len(right))
    assert found.auc() == pytest.approx(wins)
    assert found.recall() == sum(flag is True for flag in flags[:5]) / len(wrong)
    unknown = Ranking("m", "d", tuple(pair for pair in pairs if pair.shuffled is None), 1)
    assert (unknown.auc(), unknown.recall(), unknown.precision()) == (None, None, None)
