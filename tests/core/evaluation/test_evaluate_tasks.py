"""Further tasks of ``python -m core evaluate``: fused probe, captioning, few-shot, layers, validation, re-ranking."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.__main__ import main
from core.checkpoint.opening import Model, open_model
from core.data.dataset import open_dataset
from core.data.views.making import centre_view
from core.evaluation import request as requests
from core.evaluation.evaluate import Request, evaluate
from core.evaluation.report import Report
from core.evaluation.request import Evaluation
from core.inference import extraction
from core.inference.captioning import CaptionModel
from core.inference.encoder import UNPROJECTED, encode_layers
from core.inference.fusing import generated_captions
from core.inference.labelled import open_images
from core.metrics.captions.scores import caption_scores
from core.metrics.classification.few_shot import few_shot
from core.metrics.classification.labels import index_labels
from core.metrics.classification.linear_probe import linear_probe
from core.metrics.classification.logistic import ProbeData
from core.metrics.statistics import intervals
from core.model.network import Network
from core.model.towers.towers import resolve_architecture
from core.objectives.build import build_network
from core.spec.config import override
from core.spec.errors import UserError
from core.spec.generation import GenerationSettings
from core.spec.presets import preset_config
from tests.core.labelled import read, write, write_labelled
from tests.core.variants import variant_config


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Training and validation manifests, and a cache of their own."""
    folder = tmp_path_factory.mktemp("tasks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDGUI_CACHE_DIR", str(folder / "cache"))
        train_data, val_data = write_labelled(folder / "pairs")
        yield str(train_data), str(val_data)


@pytest.fixture(scope="module")
def fusing(data: tuple[str, str]) -> Model:
    """A network with a fusion and random weights."""
    torch.manual_seed(0)
    config = override(variant_config("sd-clip-every-step"), [f"data.train={data[0]}"])
    plain = open_model("open_clip:sd-tiny")
    network = build_network(config, resolve_architecture("sd-tiny")).eval()
    return replace(plain, network=network, notes=(), batch=16)


def quiet(*_: object) -> None:
    pass


def measure(model: Model, **request: Any) -> Report:
    return evaluate(model, Request(**request), quiet, quiet)


def by_hand(model: Model, source: str, layer: str) -> ProbeData:
    """Features of the colours' images, one at a time."""
    network = model.network
    found = open_dataset(source, model.data, network.image_size, network.towers.tokenize)
    views = [centre_view(found.image(row), network.image_size)[None] for row in range(len(found))]
    features = torch.cat([encode_layers(network, one, model.runtime, [layer])[layer] for one in views])
    return ProbeData(features, index_labels([found.labels(row)["colour"] for row in range(len(found))]))


def test_the_fused_probe_is_reported_beside_the_image_only_one(fusing: Model, data: tuple[str, str]) -> None:
    request = {"data": data[1], "train": data[0], "label": "colour"}
    found = measure(fusing, task="fused-probe", texts=("predicted", "classes"), **request).outcome
    alone = measure(fusing, task="linear-probe", **request).outcome
    metrics = found.metrics
    assert metrics["image_acc1"] == pytest.approx(alone.metrics["acc1"])
    assert metrics["gain_acc1"] == pytest.approx(metrics["acc1"] - metrics["image_acc1"])
    assert 0 <= metrics["classes_acc1"] <= 1
    assert found.details["others"]["classes"]["layer"] == "fused, classes"
    assert any("the class that the model predicts zero-shot" in note for note in found.notes)

    # Test labels cannot leak into the text: if every one is changed, as many images are taken for each class.
    rows = Path(data[1]).read_text(encoding="utf-8").splitlines()
    turned = {"red": "green", "green": "blue", "blue": "black", "black": "red"}
    cells = [row.split(",") for row in rows[1:]]
    lying = Path(data[1]).with_name("lying.csv")
    lines = [rows[0], *(",".join([*row[:2], turned[row[2]], row[3]]) for row in cells)]
    lying.write_text("\n".join(lines), encoding="utf-8")
    other = measure(fusing, task="fused-probe", **request | {"data": str(lying)}, texts=("predicted",)).outcome
    taken = [torch.tensor(outcome.details["confusion"]).sum(dim=0).tolist() for outcome in (found, other)]
    assert taken[0] == taken[1]


def test_few_shot_on_the_command_line_equals_the_evaluator(
    data: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    request = ["--data", data[1], "--train", data[0], "--label", "colour", "--task", "linear-probe", "--json"]
    assert main(["evaluate", "open_clip:sd-tiny", *request, "--shots", "1", "--draws", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    model = open_model("open_clip:sd-tiny")
    points = few_shot(by_hand(model, data[0], UNPROJECTED), by_hand(model, data[1], UNPROJECTED), shots=[1], draws=2)
    assert found["metrics"] == {f"acc1@{point.shots}": pytest.approx(point.mean) for point in points}
    ends = points[0].interval
    assert ends is not None
    assert found["intervals"]["acc1@1"]["low"] == pytest.approx(ends.low)


def test_C_is_chosen_on_the_validation_data(data: tuple[str, str]) -> None:
    model = open_model("open_clip:sd-tiny")
    found = measure(model, task="linear-probe", data=data[1], train=data[0], val=data[1], label="colour", layer="1")
    train, test = by_hand(model, data[0], "block 1"), by_hand(model, data[1], "block 1")
    expected = linear_probe(train, test, test)
    assert found.outcome.details["C_curve"] == [pytest.approx(list(point)) for point in expected.curve]
    assert found.outcome.metrics["acc1"] == pytest.approx(expected.test.metrics()["acc1"])
    assert found.outcome.details["layer"] == "block 1"
    assert any("C was chosen on 12 images" in note for note in found.outcome.notes)


class Match(nn.Module):
    """A matching head of random weights, of two logits as ALBEF's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2)

    def forward(self, fused: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(fused)
        return logits


def test_reranking_by_a_matching_head_equals_scoring_every_pair(fusing: Model, data: tuple[str, str]) -> None:
    torch.manual_seed(1)
    network: Network = fusing.network
    head = Match(network.fused_width)
    network.heads["matching"] = head
    try:
        found = measure(replace(fusing), task="retrieval", data=data[1], rerank=100).outcome
    finally:
        del network.heads["matching"]
    pairs = open_dataset(data[1], fusing.data, network.image_size, network.towers.tokenize)
    scores = torch.zeros(12, 12)
    with torch.no_grad():
        for image in range(12):
            source_image = centre_view(pairs.image(image), network.image_size)[None]
            for text in range(12):
                tokens = network.towers.tokenize([pairs.captions[text]])
                logits = head(network.fuse(source_image, tokens))[0]
                scores[image, text] = logits[1] - logits[0]
    # Every pair is among the candidates, so the ranks are those of the scores alone.
    for name, table in (("image_to_text", scores), ("text_to_image", scores.T)):
        better = (table > table.diagonal()[:, None]).sum(dim=1)
        assert found.metrics[f"reranked_{name}_R@1"] == pytest.approx((better < 1).double().mean().item(), abs=1e-6)
        assert found.metrics[f"reranked_{name}_mean_rank"] == pytest.approx(
            (better + 1).double().mean().item(), abs=1e-6
        )
    assert any("reranked_..." in note for note in found.notes)


def test_captions_of_a_coca_are_scored(data: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[GenerationSettings] = []
    whole = CaptionModel.captions

    def captions(model: CaptionModel, source_images: Any, settings: GenerationSettings, *more: Any) -> Any:
        said.append(settings)
        return whole(model, source_images, settings, *more)

    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path))  # where none are kept yet
    monkeypatch.setattr(CaptionModel, "captions", captions)
    model = replace(open_model("open_clip:sd-coca-tiny"), batch=6)
    found = measure(model, task="captioning", data=data[1]).outcome
    assert {settings.min_tokens for settings in said} == {0}, "what is learnt may be a single word"
    pairs = open_images(model, data[1], quiet, quiet)
    made = generated_captions(model, pairs, quiet)
    expected = caption_scores([made[row] for row in range(12)], [list(pairs.captions_of(row)) for row in range(12)])
    for name, value in expected.metrics().items():
        assert found.metrics[name] == pytest.approx(value), name
    assert {"Bleu_4", "ROUGE_L", "CIDEr"} <= set(found.metrics)
    assert found.details["samples"][0]["caption"] == made[0]
    assert (
        any("were not measured" in note or "was not computed" in note for note in found.notes)
        or "METEOR" in found.metrics
    )


def test_a_coca_fuses_images_with_text_by_its_decoder_and_its_own_captions(data: tuple[str, str]) -> None:
    model = replace(open_model("open_clip:sd-coca-tiny"), batch=16)
    found = measure(model, task="fused-probe", data=data[1], train=data[1], label="colour").outcome
    assert {"acc1", "caption_acc1", "image_acc1"} <= set(found.metrics)
    assert found.details["texts"] == ["predicted", "caption"]


def test_a_blip_fuses_images_with_its_own_captions(data: tuple[str, str]) -> None:
    config = preset_config("blip", "tiny")
    network = build_network(config, resolve_architecture(config.towers.architecture))
    model = replace(open_model("open_clip:sd-tiny"), network=network, batch=16)
    found = measure(model, task="fused-probe", data=data[1], train=data[1], label="colour").outcome
    assert found.details["texts"] == ["predicted", "caption"]


def test_zero_shot_encodes_each_class_in_each_template_once(
    data: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []

    def count(network: Network, texts: list[str], runtime: object) -> torch.Tensor:
        encoded.append(len(texts))
        numbers = torch.tensor([[float(len(text)), float(sum(map(ord, text)) % 97)] for text in texts])
        return torch.nn.functional.normalize(numbers, dim=1)

    monkeypatch.setattr(extraction, "encode_texts", count)
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path))
    model = open_model("open_clip:sd-tiny")
    templates = [f"image {number} of {{}}" for number in range(8)]
    classes = [f"class {number}" for number in range(50)]
    first = extraction.class_embedder(model, templates).embed(classes)
    assert sum(encoded) == 400
    again = extraction.class_embedder(model, templates).embed(classes)
    assert sum(encoded) == 400, "nothing is encoded again, by another process either"
    assert torch.equal(first, again)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"task": "retrieval", "rerank": 10}, "has no matching head to re-rank with; measure without --rerank"),
        ({"task": "captioning"}, "cannot caption"),
        ({"task": "fused-probe", "train": "TRAIN"}, "cannot fuse images with text"),
        ({"task": "fused-probe", "train": "TRAIN", "texts": ("song",)}, "images cannot be fused with 'song'"),
        ({"task": "linear-probe", "train": "TRAIN", "layer": "block 12"}, "the model has no layer 'block 12'"),
        ({"task": "linear-probe", "train": "TRAIN", "shots": (0,)}, "at least one draw and one image per class"),
        ({"task": "knn", "train": "TRAIN", "k": 0}, "kNN needs at least one neighbour"),
    ],
)
def test_unsupported_tasks(data: tuple[str, str], request_: dict[str, Any], message: str) -> None:
    filled = {name: data[0] if value == "TRAIN" else value for name, value in request_.items()}
    with pytest.raises(UserError) as said:
        measure(open_model("open_clip:sd-tiny"), data=data[1], label="colour", **filled)
    assert message in str(said.value)


def test_all_splits_use_the_classes_of_the_training_data(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, tuple[str, ...] | None]] = []

    def labelled(_model: object, source: str, _label: str, _layers: object, _progress: object, _log: object,
                 classes: tuple[str, ...] | None) -> Any:  # fmt: skip
        asked.append((source, classes))
        return SimpleNamespace(labels=SimpleNamespace(classes=("b", "a")))

    monkeypatch.setattr(requests, "open_labelled", labelled)
    request = Request(data="test.csv", task="knn", train="train.csv", val="val.csv")
    Evaluation(model=Any, request=request, progress=quiet, log=quiet).splits([])  # type: ignore[arg-type]
    assert asked == [("train.csv", None), ("test.csv", ("b", "a")), ("val.csv", ("b", "a"))]


@pytest.mark.parametrize("task", ["retrieval", "knn", "zero-shot"])
def test_intervals_resample_whole_clusters(task: str, data: tuple[str, str]) -> None:
    rows = read(data[1])
    shots = [str(row % 5) if row else "" for row in range(len(rows))]  # the first image belongs to no cluster
    table = [[*row, shot] for row, shot in zip(rows, shots, strict=True)]
    source = write(Path(data[1]).with_name("clustered.csv"), [["filepath", "title", "colour", "shape", "shot"], *table])
    model = open_model("open_clip:sd-tiny")
    request = {"data": str(source), "train": data[0], "label": "colour", "task": task}
    plain, clustered = measure(model, **request), measure(model, **request, cluster="shot")
    assert clustered.outcome.metrics == plain.outcome.metrics
    name = "text_to_image_R@5" if task == "retrieval" else "acc1"
    queries = clustered.outcome.per_query[name]
    assert queries.groups is not None
    assert len(set(queries.groups.tolist())) == 6
    random, values = np.random.default_rng(1), queries.values
    parts = [[values[i] for i, other in enumerate(shots) if other == shot] for shot in sorted(set(shots))]
    means = [np.concatenate([parts[i] for i in random.integers(6, size=6)]).mean() for _ in range(4000)]
    interval = intervals(clustered.outcome.per_query)[name]
    assert (interval.low, interval.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.05)


@pytest.mark.parametrize(
    ("request_fields", "message"),
    [
        ({"task": "retrieval", "cluster": "person"}, "has no label column 'person'; available: colour, shape"),
        ({"task": "captioning", "cluster": "person"}, "has no label column 'person'"),
        ({"task": "localisation", "cluster": "colour"}, "of localisation cannot resample clusters"),
        ({"task": "linear-probe", "cluster": "colour", "shots": (1,)}, "of few-shot probes cannot resample clusters"),
    ],
)
def test_impossible_clusters_are_refused_before_encoding(
    request_fields: dict[str, Any], message: str, data: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_model("open_clip:sd-tiny")
    monkeypatch.setattr(Network, "encode_images", lambda *_: pytest.fail("an image was encoded"))
    with pytest.raises(UserError, match=message):
        measure(model, **{"data": data[1], "train": data[0], "label": "colour", **request_fields})


def test_a_single_cluster_is_refused(data: tuple[str, str]) -> None:
    table = [[*row, "x"] for row in read(data[1])]
    source = write(Path(data[1]).with_name("one.csv"), [["filepath", "title", "colour", "shape", "shot"], *table])
    with pytest.raises(UserError, match="are in one cluster, since they have the same 'shot'"):
        measure(open_model("open_clip:sd-tiny"), data=str(source), task="retrieval", cluster="shot")
