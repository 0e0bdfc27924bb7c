"""The Classify panel's desk on a real small run: its numbers against the evaluators', its manners with bad input."""

from __future__ import annotations

import base64
import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from core import extraction
from core.classify import Classify
from core.config import override
from core.data.dataset import open_dataset
from core.data.views import centre_view
from core.encoder import PROJECTED, UNPROJECTED, encode_layers, encode_texts
from core.errors import UserError
from core.evaluators.labels import index_labels
from core.evaluators.linear_probe import linear_probe
from core.evaluators.logistic import ProbeData
from core.evaluators.prompts import load_templates
from core.fusing import Joining
from core.opening import Model, open_model
from core.presets import preset_config
from core.rundir import RunDir
from core.train import train
from core.worker import Worker
from tests.core.labelled import read, write, write_labelled

Answer = dict[str, Any]


class Cancelled(Exception):
    pass


class Desk:
    """A desk that is asked by a verb's name; every answer must be what JSON can hold."""

    def __init__(self) -> None:
        self.verbs = Classify().verbs
        self.heard: list[tuple[str, int, int]] = []
        self.partials: list[Answer] = []
        self.stop_at = ""

    def __call__(self, doing: str, done: int, total: int, /) -> None:
        self.heard.append((doing, done, total))
        if self.stop_at and doing.startswith(self.stop_at):
            raise Cancelled

    def partial(self, result: Answer) -> None:
        self.partials.append(json.loads(json.dumps(result, allow_nan=False)))

    def ask(self, verb: str, **arguments: Any) -> Answer:
        answer: Answer = json.loads(
            json.dumps(self.verbs[f"classify_{verb}"](progress=self, **arguments), allow_nan=False)
        )
        return answer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with pairs/, a run trained on them and a cache."""
    folder = tmp_path_factory.mktemp("classify")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDGUI_CACHE_DIR", str(folder / "cache"))
        train_data, val_data = write_labelled(folder / "pairs")
        config = override(
            preset_config("sd-clip", "tiny"),
            [
                f"data.train={train_data}",
                f"data.val={val_data}",
                "optim.batch_size=12",
                "optim.epochs=2",
                "validation.batch_size=12",
            ],
        )
        train(config, RunDir(folder / "run"), quiet=True)
        yield folder


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


def by_hand(model: Model, source: str, layer: str) -> tuple[torch.Tensor, list[str], list[str]]:
    """Features, colours and paths of a manifest's pictures, one at a time."""
    network = model.network
    data = open_dataset(source, model.data, network.image_size, network.towers.tokenize)
    views = [centre_view(data.picture(row), network.image_size)[None] for row in range(len(data))]
    features = torch.cat([encode_layers(network, one, model.runtime, [layer])[layer] for one in views])
    colours = [data.labels(row)["colour"] for row in range(len(data))]
    return features, colours, [str(data.path(row)) for row in range(len(data))]


def test_opening_tells_what_there_is(opened: Answer) -> None:
    assert opened["classes"] == ["black", "blue", "green", "red"]
    assert opened["model"]["weights"] == "teacher"
    assert opened["model"]["layers"][:3] == [UNPROJECTED, PROJECTED, "block 1"]
    assert opened["model"]["texts"] == ["predicted", "classes"]
    assert opened["data"]["labelled"] == 12
    assert opened["train"]["labelled"] == 36
    assert opened["data"]["skipped"] == []


def test_a_probe_is_the_evaluators_own(desk: Desk, run: str, val: str, place: Path, probed: Answer) -> None:
    model = open_model(run)
    data = []
    for source in (str(place / "pairs" / "labelled-train.csv"), val):
        features, colours, _ = by_hand(model, source, UNPROJECTED)
        data.append(ProbeData(features, index_labels(colours)))
    expected = linear_probe(data[0], data[1])
    assert probed["accuracy"]["value"] == pytest.approx(expected.test.metrics()["acc1"])
    assert probed["curve"] == [pytest.approx(list(point)) for point in expected.curve]
    assert probed["C"] == pytest.approx(expected.probe.C)
    cells = torch.zeros(4, 4, dtype=torch.int64)
    confusion = probed["confusion"]
    cells[confusion["true"], confusion["predicted"]] = torch.tensor(confusion["count"])
    assert torch.equal(cells, expected.test.confusion())
    for one in probed["per_class"]:
        right = int(cells[one["index"], one["index"]])
        assert one["accuracy"] == pytest.approx(right / one["rows"])
        assert one["low"] <= one["accuracy"] <= one["high"]


def test_zero_shot_equals_a_plain_loop(desk: Desk, run: str, val: str, opened: Answer) -> None:
    found = desk.ask("zero_shot", opened=opened["opened"])
    model = open_model(run)
    images, truth, _ = by_hand(model, val, PROJECTED)

    classes = {}
    for name in opened["classes"]:
        vectors = encode_texts(
            model.network, [one.replace("{}", name) for one in load_templates("photo")], model.runtime
        )
        classes[name] = vectors.mean(dim=0) / vectors.mean(dim=0).norm()
    taken = [max(classes, key=lambda name: float(image @ classes[name])) for image in images]
    right = sum(guess == true for guess, true in zip(taken, truth, strict=True))
    assert found["accuracy"]["value"] == pytest.approx(right / len(truth), abs=1e-9)


def test_mistakes_and_cells_name_the_pictures(desk: Desk, opened: Answer) -> None:
    found = desk.ask("zero_shot", opened=opened["opened"])
    assert 0 < found["mistake_count"] == len(found["mistakes"])
    chances = [one["probability"] for one in found["mistakes"]]
    assert chances == sorted(chances, reverse=True)
    first = found["mistakes"][0]
    assert Path(first["image"]).name.startswith(first["true"])
    where = {"true": found["classes"].index(first["true"]), "predicted": found["classes"].index(first["predicted"])}
    cell = desk.ask("cell", result=found["result"], **where)
    assert first["image"] in [one["image"] for one in cell["pictures"]]
    assert all(Path(one["image"]).name.startswith(first["true"]) for one in cell["pictures"])
    at = found["confusion"]["true"].index(where["true"]) if where["true"] in found["confusion"]["true"] else -1
    assert at >= 0
    counts = dict(
        zip(
            zip(found["confusion"]["true"], found["confusion"]["predicted"], strict=True),
            found["confusion"]["count"],
            strict=True,
        )
    )
    assert counts[where["true"], where["predicted"]] == cell["total"]
    assert desk.ask("cell", result=found["result"], offset=cell["total"], **where)["pictures"] == []
    rest = desk.ask("mistakes", result=found["result"], offset=1)
    assert [one["image"] for one in rest["pictures"]] == [one["image"] for one in found["mistakes"][1:]]


def test_a_fused_probe_stands_beside_the_image_only_one(desk: Desk, run: str, opened: Answer, probed: Answer) -> None:
    fused = desk.ask("probe", opened=opened["opened"], kind="fused", text="predicted")
    assert fused["kind"] == "fused-probe"
    assert fused["samples"] == probed["samples"]
    compared = desk.ask("compare", a=fused["result"], b=probed["result"])
    gain = compared["differences"]["acc1"]
    assert gain["value"] == pytest.approx(fused["accuracy"]["value"] - probed["accuracy"]["value"])
    assert len(compared["only_a"]) == gain["better"]
    assert len(compared["only_b"]) == gain["worse"]
    assert gain["better"] + gain["worse"] + compared["both_right"] + compared["both_wrong"] == 12


@pytest.mark.parametrize("text", ["predicted", "classes"])
def test_pictures_are_joined_with_text_that_knows_no_label(run: str, val: str, text: str) -> None:
    model = open_model(run)
    network = model.network
    names = ("black", "blue", "green", "red")
    embedded = encode_texts(network, [f"a {name}" for name in names], model.runtime)
    joining = Joining(model, text, names, ("a {}",), embedded)
    data = open_dataset(val, model.data, network.image_size, network.towers.tokenize)
    pictures = torch.stack([centre_view(data.picture(row), network.image_size) for row in range(4)])
    made = joining(pictures)
    for picture, row in zip(pictures, made, strict=True):
        with torch.no_grad():
            each = [network.fuse(picture[None], network.towers.tokenize([f"a {name}"]))[0] for name in names]
            image = network.encode_images(picture[None])[0]
        expected = torch.stack(each).mean(dim=0) if text == "classes" else each[int((embedded @ image).argmax())]
        assert torch.allclose(row, expected, atol=1e-4)


def test_a_few_shot_curve_comes_point_by_point(desk: Desk, opened: Answer) -> None:
    desk.partials.clear()
    found = desk.ask("few_shot", opened=opened["opened"], shots=[2, 1], draws=2)
    assert [point["shots"] for point in found["curve"]] == [1, 2]
    assert [len(one["curve"]) for one in desk.partials] == [1, 2]
    for point in found["curve"]:
        assert point["accuracy"] == pytest.approx(sum(point["draws"]) / 2)
        assert 0 <= point["low"] <= point["accuracy"] <= point["high"] <= 1


def test_student_and_teacher_are_compared_on_the_same_pictures(desk: Desk, run: str, val: str, probed: Answer) -> None:
    other = desk.ask("open", model=run, data=val, label="colour", weights="student")
    student = desk.ask("probe", opened=other["opened"])
    both = desk.ask("compare", a=probed["result"], b=student["result"])
    assert both["differences"]["acc1"]["value"] == pytest.approx(
        probed["accuracy"]["value"] - student["accuracy"]["value"]
    )
    shapes = desk.ask("open", model=run, data=val, label="shape")
    by_shape = desk.ask("knn", opened=shapes["opened"], k=3)
    with pytest.raises(UserError, match="measure both on the same data"):
        desk.ask("compare", a=probed["result"], b=by_shape["result"])


def test_trying_pictures_by_probe_and_by_typed_names(
    desk: Desk, run: str, val: str, place: Path, probed: Answer, tmp_path: Path
) -> None:
    picture = str(place / "pairs" / read(val)[0][0])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    names = ["Golden_Retriever", "  ", "Füchse", "😀 face", "golden retriever"]
    found = desk.ask(
        "try", pictures=[picture, str(broken), "/nowhere.png"], model=run, probe=probed["result"], classes=names, top=3
    )
    first, second, third = found["pictures"]
    assert sum(one["probability"] for one in first["probe"]) <= 1.0001
    assert {one["class"] for one in first["zero_shot"]} <= {"Golden_Retriever", "Füchse", "😀 face", "golden retriever"}
    assert len(first["zero_shot"]) == 3
    assert second["probe"] is None
    assert "known format" in second["error"]
    assert third["error"] == "there is no such file"


def test_typing_encodes_only_what_is_new(
    desk: Desk, run: str, val: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = str(place / "pairs" / read(val)[0][0])
    desk.ask("try", pictures=[picture], model=run, classes=["cat", "dog"])
    calls: list[int] = []

    monkeypatch.setattr(
        extraction,
        "encode_texts",
        lambda network, texts, runtime: calls.append(len(texts)) or encode_texts(network, texts, runtime),
    )
    monkeypatch.setattr("core.classify.trying.encode_layers", None)
    one = desk.ask("try", pictures=[picture], model=run, classes=["dog", "cat"])
    assert calls == [], "known names and pictures are not encoded again"
    assert one["pictures"][0]["zero_shot"]
    desk.ask("try", pictures=[picture], model=run, classes=["dog", "cat", "fox"])

    assert sum(calls) == len(load_templates("photo"))


@pytest.mark.parametrize("kind", ["image", "fused"])
def test_a_saved_probe_is_the_same_when_loaded(desk: Desk, opened: Answer, kind: str, tmp_path: Path) -> None:
    fitted = desk.ask("probe", opened=opened["opened"], kind=kind)
    saved = desk.ask("save_probe", result=fitted["result"], path=str(tmp_path / "mine"))
    assert json.loads(Path(saved["json"]).read_text(encoding="utf-8"))["classes"] == opened["classes"]
    loaded = desk.ask("load_probe", path=saved["path"], opened=opened["opened"])
    assert loaded["result"]["accuracy"] == fitted["accuracy"]
    assert loaded["result"]["confusion"] == fitted["confusion"]


def test_a_probe_goes_over_a_folder_into_a_table(
    desk: Desk, run: str, place: Path, probed: Answer, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(place / "pairs", folder)
    (folder / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "out.csv"
    done = desk.ask("apply", probe=probed["result"], pictures=[str(folder)], out=str(out), model=run)
    assert done["pictures"] == 48
    assert done["unreadable_count"] == 1
    assert sum(one["pictures"] for one in done["classes"]) == 48
    rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    assert len(rows) == 49
    for row in rows:
        if row["error"]:
            assert row["filepath"].endswith("broken.png")
            continue
        chances = {name: float(row[f"p({name})"]) for name in ("black", "blue", "green", "red")}
        assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
        assert row["class"] == max(chances, key=chances.__getitem__)


def test_a_folder_of_class_folders_is_split(desk: Desk, run: str, place: Path, tmp_path: Path) -> None:
    for picture in (place / "pairs").glob("*.png"):
        colour = picture.name.split("-")[0]
        (tmp_path / f"Farbe_{colour} Ü😀").mkdir(exist_ok=True)
        shutil.copy(picture, tmp_path / f"Farbe_{colour} Ü😀")
    opened = desk.ask("open", model=run, data=str(tmp_path))
    assert opened["classes"] == sorted(f"Farbe_{colour} Ü😀" for colour in ("black", "blue", "green", "red"))
    assert opened["train"]["labelled"] + opened["data"]["labelled"] == 48
    assert any("of 48 pictures" in note for note in opened["notes"])
    assert desk.ask("probe", opened=opened["opened"])["samples"] == opened["data"]["labelled"]


def test_a_cancelled_opening_is_gone_on_with(
    desk: Desk, run: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(extraction, "PART_ROWS", 12)
    first = Desk()
    first.stop_at = "encoding pictures"
    source = str(place / "pairs" / "labelled-train.csv")
    with pytest.raises(Cancelled):
        first.ask("open", model=run, data=source, label="colour", train="split")
    kept = len(list(tmp_path.glob("features/*/*.safetensors")))
    assert kept == 2, "a part of each of two layers"
    again = Desk()
    again.ask("open", model=run, data=source, label="colour", train="split")
    assert len(list(tmp_path.glob("features/*/*.safetensors"))) == 6, "two more parts of each layer"


def manifest(val: str, name: str, labels: list[str]) -> str:
    """The validation pictures with other labels."""
    rows = [[*row[:2], labels[number % len(labels)]] for number, row in enumerate(read(val))]
    return str(write(Path(val).with_name(name), [["filepath", "title", "kind"], *rows]))


def test_a_class_with_one_picture_is_told(desk: Desk, run: str, val: str) -> None:
    data = manifest(val, "single.csv", ["one", *["many", "more"] * 5, "more"])
    opened = desk.ask("open", model=run, data=data)
    assert any("1 classes have one picture only, such as 'one'" in note for note in opened["notes"])
    assert desk.ask("probe", opened=opened["opened"])["samples"] == opened["data"]["labelled"]


def test_only_single_pictures_leave_nothing_to_test(desk: Desk, run: str, val: str) -> None:
    opened = desk.ask("open", model=run, data=manifest(val, "singles.csv", [f"class {i}" for i in range(12)]))
    assert opened["train"] is None
    with pytest.raises(UserError, match="every class has one picture only"):
        desk.ask("probe", opened=opened["opened"])
    assert desk.ask("zero_shot", opened=opened["opened"])["samples"] == 12


def test_labels_missing_in_half_the_rows_are_told(desk: Desk, run: str, val: str) -> None:
    opened = desk.ask("open", model=run, data=manifest(val, "half.csv", ["a", "", "b", ""]), train="split")
    assert "6 of 12 rows have no label and were left out." in opened["notes"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["thing"], "needs at least two classes (there is only 'thing')"),
        ([""], "none of the 12 rows has a label"),
    ],
)
def test_labels_that_cannot_be_used(desk: Desk, run: str, val: str, labels: list[str], message: str) -> None:
    with pytest.raises(UserError) as said:
        desk.ask("open", model=run, data=manifest(val, "bad.csv", labels))
    assert message in str(said.value)


def test_no_overlap_of_class_names_says_so(desk: Desk, run: str, val: str, place: Path) -> None:
    data = manifest(val, "other.csv", ["purple", "orange"])
    train_data = str(place / "pairs" / "labelled-train.csv")
    with pytest.raises(UserError, match=r"none of the 2 labels .* is among the 4 classes"):
        desk.ask("open", model=run, data=data, label="kind", train=train_data, train_label="colour")


def test_nan_features_are_refused_with_the_remedy(desk: Desk, val: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Desk()

    def diverged(name: str, weights: str = "") -> Model:
        model = open_model(name, weights)
        with torch.no_grad():
            model.network.towers.clip.visual.conv1.weight.fill_(float("nan"))
        return model

    monkeypatch.setattr("core.classify.desk.open_model", diverged)
    opened = broken.ask("open", model="open_clip:sd-tiny", data=val, label="colour", train="split")
    for verb in ("zero_shot", "probe", "knn"):
        with pytest.raises(UserError, match=r"NaN or infinity .*an earlier checkpoint, or in fp32"):
            broken.ask(verb, opened=opened["opened"])


def test_pictures_much_smaller_than_the_model_are_told(desk: Desk, val: str, tmp_path: Path) -> None:

    for name, colour in (("a", "red"), ("b", "blue")):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (8, 8), colour).save(tmp_path / name / f"{number}.png")
    opened = desk.ask("open", model="open_clip:sd-tiny", data=str(tmp_path))
    assert any("about 8 pixels a side and are enlarged" in note for note in opened["notes"])
    assert not any(
        "enlarged" in note for note in desk.ask("open", model="open_clip:sd-tiny", data=val, label="colour")["notes"]
    )


def test_a_probe_of_another_model_or_layer_is_refused(
    desk: Desk, run: str, val: str, probed: Answer, tmp_path: Path
) -> None:
    saved = desk.ask("save_probe", result=probed["result"], path=str(tmp_path / "probe"))
    other = desk.ask("open", model="open_clip:sd-tiny", data=val, label="colour", train="split")
    with pytest.raises(UserError, match="the probe belongs to model"):
        desk.ask("load_probe", path=saved["path"], opened=other["opened"])
    layer = desk.ask("open", model=run, data=val, label="colour", layer="block 1")
    with pytest.raises(UserError, match="open the data with that layer"):
        desk.ask("load_probe", path=saved["path"], opened=layer["opened"])


@pytest.mark.parametrize(
    ("verb", "arguments", "message"),
    [
        ("zero_shot", {"opened": "opened 999"}, "'opened 999' is no longer in memory; open the data again"),
        ("cell", {"result": "result 999", "true": 0, "predicted": 0}, "is no longer in memory; measure again"),
        ("probe", {"opened": "OPENED", "kind": "sung"}, "there is no probe 'sung'; there are image and fused"),
        (
            "probe",
            {"opened": "OPENED", "kind": "fused", "text": "caption"},
            "writes no captions; join with 'predicted'",
        ),
        ("few_shot", {"opened": "OPENED", "shots": []}, "name at least one number of pictures a class"),
        ("open", {"model": "RUN", "data": "VAL", "label": "colour", "layer": "top"}, "there is no layer 'top'"),
        ("open", {"model": "RUN", "data": "VAL"}, "several label columns"),
        (
            "apply",
            {"probe": "PROBE", "pictures": ["/nowhere"], "out": "x.csv", "model": "RUN"},
            "there are no pictures in",
        ),
        ("load_probe", {"path": "/nowhere/probe"}, "cannot read the probe"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
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
    assert said[0] == {"event": "ready"}
    assert {reply.get("id") for reply in said[1:]} == {7}


def test_packed_cells_are_the_same_cells(desk: Desk, run: str, val: str, probed: Answer) -> None:
    opened = desk.ask("open", model=run, data=val, label="colour", packed=True)
    cells = desk.ask("probe", opened=opened["opened"])["confusion"]
    read = {name: [*memoryview(base64.b64decode(text)).cast("i")] for name, text in cells.items()}
    assert read == probed["confusion"]
