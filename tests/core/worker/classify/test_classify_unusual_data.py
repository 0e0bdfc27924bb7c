"""Data that are odd or cannot be used: told in a sentence, and what can be done is done."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from core.checkpoint.opening import Model, open_model
from core.inference import extraction
from core.spec.errors import UserError
from core.worker.server import Worker
from tests.core.worker.classify.desk_helpers import Answer, Cancelled, Desk, manifest


def test_a_folder_of_class_folders_is_split(desk: Desk, run: str, place: Path, tmp_path: Path) -> None:
    for image in (place / "pairs").glob("*.png"):
        colour = image.name.split("-")[0]
        (tmp_path / f"Farbe_{colour} Ü😀").mkdir(exist_ok=True)
        shutil.copy(image, tmp_path / f"Farbe_{colour} Ü😀")
    opened = desk.ask("open", model=run, data=str(tmp_path))
    assert opened["classes"] == sorted(f"Farbe_{colour} Ü😀" for colour in ("black", "blue", "green", "red"))
    assert opened["train"]["labelled"] + opened["data"]["labelled"] == 48
    assert any("of 48 images" in note for note in opened["notes"])
    assert desk.ask("probe", opened=opened["opened"])["samples"] == opened["data"]["labelled"]


def test_changed_data_are_read_again(desk: Desk, run: str, val: str, place: Path, tmp_path: Path) -> None:
    table = manifest(val, "changing.csv", ["a", "b"])
    assert desk.ask("open", model=run, data=table, label="kind")["classes"] == ["a", "b"]
    manifest(val, "changing.csv", ["a", "b", "c"])
    assert desk.ask("open", model=run, data=table, label="kind")["classes"] == ["a", "b", "c"]

    images = sorted((place / "pairs").glob("*.png"))[:8]
    for number, image in enumerate(images):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        shutil.copy(image, tmp_path / "ab"[number % 2])
    before = desk.ask("open", model=run, data=str(tmp_path), train="split")
    (tmp_path / "a" / images[0].name).rename(tmp_path / "b" / images[0].name)
    after = desk.ask("open", model=run, data=str(tmp_path), train="split")
    assert after["train"]["counts"] != before["train"]["counts"], "an image has another label"


def test_a_cancelled_opening_is_resumed(
    desk: Desk, run: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(extraction, "PART_ROWS", 12)
    first = Desk()
    first.stop_at = "encoding images"
    source = str(place / "pairs" / "labelled-train.csv")
    with pytest.raises(Cancelled):
        first.ask("open", model=run, data=source, label="colour", train="split")
    kept = len(list(tmp_path.glob("features/*/*.safetensors")))
    assert kept == 2, "a part of each of two layers"
    again = Desk()
    again.ask("open", model=run, data=source, label="colour", train="split")
    assert len(list(tmp_path.glob("features/*/*.safetensors"))) == 6, "two more parts of each layer"


def test_a_class_with_one_image_is_reported(desk: Desk, run: str, val: str) -> None:
    data = manifest(val, "single.csv", ["one", *["many", "more"] * 5, "more"])
    opened = desk.ask("open", model=run, data=data)
    assert any("1 classes have only one image, such as 'one'" in note for note in opened["notes"])
    assert desk.ask("probe", opened=opened["opened"])["samples"] == opened["data"]["labelled"]


def test_classes_of_single_images_leave_no_test_data(desk: Desk, run: str, val: str) -> None:
    opened = desk.ask("open", model=run, data=manifest(val, "singles.csv", [f"class {i}" for i in range(12)]))
    assert opened["train"] is None
    with pytest.raises(UserError, match="every class has only one image"):
        desk.ask("probe", opened=opened["opened"])
    assert desk.ask("zero_shot", opened=opened["opened"])["samples"] == 12


def test_training_on_the_test_data_is_reported(desk: Desk, run: str, val: str, place: Path) -> None:
    said = {
        train: any("training data are the test data" in note for note in opened["notes"])
        for train in ("", val, str(place / "pairs" / "labelled-train.csv"))
        for opened in [desk.ask("open", model=run, data=val, label="colour", train=train)]
    }
    assert list(said.values()) == [False, True, False]


def test_nan_features_are_refused_with_the_remedy(desk: Desk, val: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Desk()

    def diverged(name: str, weights: str = "") -> Model:
        model = open_model(name, weights)
        with torch.no_grad():
            model.network.towers.clip.visual.conv1.weight.fill_(float("nan"))
        return model

    monkeypatch.setattr("core.worker.classify.session.open_model", diverged)
    opened = broken.ask("open", model="open_clip:sd-tiny", data=val, label="colour", train="split")
    for verb in ("zero_shot", "probe", "knn"):
        with pytest.raises(UserError, match=r"NaN or infinity .*an earlier checkpoint, or in fp32"):
            broken.ask(verb, opened=opened["opened"])


def test_images_much_smaller_than_the_model_are_reported(desk: Desk, val: str, tmp_path: Path) -> None:

    for name, colour in (("a", "red"), ("b", "blue")):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (8, 8), colour).save(tmp_path / name / f"{number}.png")
    opened = desk.ask("open", model="open_clip:sd-tiny", data=str(tmp_path))
    assert any("about 8 pixels per side and are enlarged" in note for note in opened["notes"])
    assert not any(
        "enlarged" in note for note in desk.ask("open", model="open_clip:sd-tiny", data=val, label="colour")["notes"]
    )


@pytest.mark.parametrize(
    ("verb", "arguments", "message"),
    [
        ("zero_shot", {"opened": "opened 999"}, "these data are not open; open them first"),
        ("cell", {"result": "result 999", "true": 0, "predicted": 0}, "there is no such result; evaluate first"),
        ("probe", {"opened": "OPENED", "kind": "sung"}, "there is no kind of probe 'sung'; choose image or fused"),
        (
            "probe",
            {"opened": "OPENED", "kind": "fused", "text": "caption"},
            "cannot generate captions; choose 'predicted'",
        ),
        ("few_shot", {"opened": "OPENED", "shots": []}, "choose at least one number of images per class"),
        ("open", {"model": "RUN", "data": "VAL", "label": "colour", "layer": "top"}, "the model has no layer 'top'"),
        ("open", {"model": "RUN", "data": "VAL"}, "several label columns"),
        (
            "apply",
            {"probe": "PROBE", "images": ["/nowhere"], "out": "x.csv", "model": "RUN"},
            "there are no images in",
        ),
        ("load_probe", {"path": "/nowhere/probe"}, "cannot read the probe"),
    ],
)
def test_unsupported_requests_are_user_errors(
    desk: Desk, run: str, val: str, opened: Answer, probed: Answer, verb: str, arguments: dict[str, Any], message: str
) -> None:
    known = {"RUN": run, "VAL": val, "OPENED": opened["opened"], "PROBE": probed["result"]}
    filled = {name: known.get(value, value) if isinstance(value, str) else value for name, value in arguments.items()}
    with pytest.raises(UserError) as said:
        desk.ask(verb, **filled)
    assert message in str(said.value)


def test_the_worker_knows_the_verbs(run: str, val: str) -> None:
    request = {"id": 7, "do": "classify_open", "model": run, "data": val, "label": "colour"}
    replies = io.StringIO()
    Worker(io.StringIO(json.dumps(request) + "\n"), replies).serve()
    said = [json.loads(line) for line in replies.getvalue().splitlines()]
    assert said[0]["event"] == "ready"
    assert {reply.get("id") for reply in said[1:]} == {7}
