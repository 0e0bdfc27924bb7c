"""By what the best checkpoint is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from core.data.dataset import open_dataset
from core.inference.encoder import Features, encode_dataset
from core.model.runtime import Runtime
from core.model.towers.towers import resolve_architecture
from core.objectives.build import build_network
from core.spec.config import override
from core.spec.presets import PRESETS, preset_config
from core.spec.run.events import Evaluated, EventReader
from core.spec.run.folder import RunDir
from core.training import validation
from core.training.train import train
from core.training.validation import best_score, retrieval_sample, top1, trains_retrieval, validate
from tests.core.images import write_pairs

JUDGED = {"val/student/mean_recall": 0.2, "val/teacher/mean_recall": 0.3, "val/student/text_to_image_R@1": 0.9}
CLASSES = {"val/student/top1": 0.6, "val/teacher/top1": 0.5}


@pytest.mark.parametrize(
    ("preset", "values", "wanted"),
    [
        ("clip", JUDGED, (0.3, "teacher")),
        ("clip", JUDGED | CLASSES, (0.3, "teacher")),
        ("clip", JUDGED | {"val/student/mean_recall": 0.3}, (0.3, "teacher")),
        ("clip", JUDGED | {"val/student/mean_recall": 0.4}, (0.4, "student")),
        ("fixmatch", JUDGED | CLASSES, (0.6, "student")),
        ("dino", JUDGED, (0.75, "")),  # its recall is chance: the later, the better
        ("fixmatch", JUDGED, (0.75, "")),
    ],
)
def test_the_best_is_chosen_by_the_trained_task(
    preset: str, values: dict[str, float], wanted: tuple[float, str]
) -> None:
    assert best_score(values, preset_config(preset, "tiny").objectives, 0.75) == wanted


def test_presets_without_pairs_report_no_retrieval() -> None:
    without = {name for name in PRESETS if not trains_retrieval(preset_config(name, "tiny").objectives)}
    assert {"dino", "mean-teacher", "fixmatch", "mixmatch", "mixup"} <= without
    assert without.isdisjoint({"clip", "sd-clip-every-step", "coca", "albef", "siglip", "silc", "cosmos"})


def test_an_untrained_label_does_not_end_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))
    sources = write_pairs(tmp_path)
    for source in sources:
        head, *lines = source.read_text().splitlines()
        source.write_text("\n".join([f"{head},group", *(f"{line},{line.split()[2]}" for line in lines)]) + "\n")
    settings = [f"data.train={sources[0]}", f"data.val={sources[1]}", "data.label=group", "optim.epochs=1"]
    run = RunDir(tmp_path / "run")
    config = override(preset_config("clip", "tiny"), [*settings, "optim.batch_size=12", "runtime.threads=1"])
    assert train(config, run, quiet=True) == "done"
    (values,) = [event.values for event in EventReader(run.events).read_all() if isinstance(event, Evaluated)]
    assert "val/student/mean_recall" in values
    assert not any(name.endswith("/top1") for name in values)


class Little:
    """Images with captions and a label each; the middle one cannot be read."""

    label_names = ("kind",)
    origin = "little.csv"
    own = (("a", "b"), ("x",), ("c",), ("d", "e", "f"), ("g",))
    kinds = ("cat", "dog", "", "dog", "bird")

    def __len__(self) -> int:
        return len(self.own)

    def path(self, row: int) -> Path:
        return Path(f"/{row}.png")

    def captions_of(self, row: int) -> tuple[str, ...]:
        return self.own[row]

    def labels(self, row: int) -> dict[str, str]:
        return {"kind": self.kinds[row]}


def test_samples_are_evenly_spaced_with_the_top_results_of_each_network() -> None:
    """Captions a b c d e f g of images 0 0 2 3 3 3 4; a, c, e and g are shown, and e finds image 4 first."""
    texts = torch.eye(5, 8)[[0, 0, 2, 3, 4, 3, 4]]
    features = Features(
        torch.eye(5, 8)[[0, 2, 3, 4]], texts, torch.tensor([0, 0, 1, 2, 2, 2, 3]), torch.tensor([0, 2, 3, 4])
    )
    sample = retrieval_sample(Little(), {"student": features, "teacher": features})  # type: ignore[arg-type]
    assert sample.keys() == {"student", "teacher"}
    shown = sample["student"]
    assert [(one["caption"], one["image"]) for one in shown] == [
        ("a", "/0.png"), ("c", "/2.png"), ("e", "/3.png"), ("g", "/4.png"),
    ]  # fmt: skip
    assert [one["hits"][0] for one in shown] == [
        {"image": path, "score": 1.0, "true": true}
        for path, true in (("/0.png", True), ("/2.png", True), ("/4.png", False), ("/4.png", True))
    ]
    assert all(sum(hit["true"] for hit in one["hits"]) == 1 for one in shown)
    assert len(shown[0]["hits"]) == 4


@pytest.mark.parametrize("captions", [1, 2, 3])
def test_samples_show_all_of_few_captions(captions: int) -> None:
    rows = torch.arange(captions)
    dataset = Little()
    dataset.own = tuple((name,) for name in "abc"[:captions])  # type: ignore[misc]
    features = Features(torch.eye(captions), torch.eye(captions), rows, rows)
    sample = retrieval_sample(dataset, {"student": features})  # type: ignore[arg-type]
    assert "".join(entry["caption"] for entry in sample["student"]) == "abc"[:captions]


def test_accuracy_is_over_labelled_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of cat, dog, none, dog and bird (no class here) it says cat, cat, cat, dog, cat: two of four."""
    said = torch.tensor([0, 0, 0, 1, 0])

    def batches(dataset: object, size: int, batch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for rows in torch.arange(5).split(batch):
            yield rows, rows

    monkeypatch.setattr(validation, "evaluation_batches", batches)
    monkeypatch.setattr(validation, "class_logits", lambda network, rows: torch.eye(2)[said[rows]])
    network = torch.nn.Linear(1, 1)
    network.classes, network.image_size = ("cat", "dog"), 8  # type: ignore[assignment]
    runtime = Runtime(torch.device("cpu"), "fp32")
    done: list[int] = []
    shares = top1({"student": network}, Little(), runtime, 2, lambda what, at, of: done.append(at), "kind")  # type: ignore
    assert shares == {"student": 2 / 4}
    assert done == [2, 4, 5]
    assert network.training


def test_each_image_is_decoded_once_for_student_and_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the networks' features are those that each has alone."""
    source = write_pairs(tmp_path)[1]
    config = override(preset_config("clip", "tiny"), ["data.cache_mib=0"])
    networks = {}
    for seed, weights in enumerate(("student", "teacher")):
        torch.manual_seed(seed)
        networks[weights] = build_network(config, resolve_architecture("sd-tiny"))
    towers, runtime = networks["student"].towers, Runtime(torch.device("cpu"), "fp32")
    dataset = open_dataset(str(source), config.data, 32, towers.tokenize, pad_id=towers.pad_id)
    alone = {
        weights: encode_dataset(network, dataset, runtime, 5, lambda *_: None) for weights, network in networks.items()
    }
    decoded: list[int] = []
    plain = dataset.image
    monkeypatch.setattr(dataset, "image", lambda row: (decoded.append(row), plain(row))[1])
    _, together = validate(networks, dataset, runtime, "val", 5, lambda *_: None)
    assert sorted(decoded) == list(range(len(dataset)))
    for weights, features in together.items():
        assert torch.equal(features.images, alone[weights].images)
        assert torch.equal(features.texts, alone[weights].texts)
    assert not torch.equal(together["student"].images, together["teacher"].images)
