"""What the desk measures, against the evaluators and plain loops."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.checkpoint.opening import open_model
from core.data.dataset import open_dataset
from core.data.views.making import centre_view
from core.inference.encoder import PROJECTED, UNPROJECTED, encode_texts
from core.inference.fusing import FusedEncoder
from core.metrics.classification.labels import index_labels
from core.metrics.classification.linear_probe import linear_probe
from core.metrics.classification.logistic import ProbeData
from core.metrics.classification.prompts import load_templates
from core.spec.data.prompt_sets import PromptSet
from core.spec.errors import UserError
from core.spec.run.folder import RunDir
from core.spec.run.model_names import default_network
from tests.core.worker.classify.desk_helpers import Answer, Desk, by_hand


def test_opening_lists_layers_labels_and_splits(run: str, opened: Answer) -> None:
    assert opened["classes"] == ["black", "blue", "green", "red"]
    assert opened["model"]["weights"] == default_network(RunDir(run), "best")
    assert opened["model"]["layers"][:3] == [UNPROJECTED, PROJECTED, "block 1"]
    assert opened["model"]["texts"] == ["predicted", "classes"]
    assert opened["data"]["labelled"] == 12
    assert opened["train"]["labelled"] == 36
    assert opened["data"]["skipped"] == []


def test_a_probe_matches_the_evaluator(desk: Desk, run: str, val: str, place: Path, probed: Answer) -> None:
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


def test_edited_prompts_are_evaluated_one_template_at_a_time(desk: Desk, run: str, opened: Answer) -> None:
    desk.partials.clear()
    photo = load_templates("photo")[:5]
    plain = PromptSet(photo)
    found = desk.ask("zero_shot", opened=opened["opened"], templates=plain.to_json())
    assert len(desk.partials) == 2, "after 1 and 4 of 5"
    first = desk.ask("zero_shot", opened=opened["opened"], templates=PromptSet(photo[:1]).to_json())
    assert desk.partials[0]["confusion"] == first["confusion"]
    assert first["result"] != found["result"]
    classes = opened["classes"]
    swapped = {classes[0]: (classes[1],), classes[1]: (classes[0],)}
    other = desk.ask("zero_shot", opened=opened["opened"], templates=PromptSet(photo, swapped).to_json())
    swap = [1, 0, *range(2, len(classes))]
    was = {(true, swap[guess]): number for true, guess, number in zip(*found["confusion"].values(), strict=True)}
    now = dict(
        zip(
            zip(other["confusion"]["true"], other["confusion"]["predicted"], strict=True),
            other["confusion"]["count"],
            strict=True,
        )
    )
    assert now == was, "what each of two classes is called was exchanged"
    cell = desk.ask("cell", result=other["result"], true=0, predicted=0)
    assert cell["total"] == now.get((0, 0), 0), "the key of a result holds its prompts"
    unknown = desk.ask("zero_shot", opened=opened["opened"], templates=PromptSet(photo, {"no such": ("x",)}).to_json())
    assert "not in the data" in unknown["notes"][-1]


def test_mistakes_and_cells_list_their_images(desk: Desk, opened: Answer) -> None:
    found = desk.ask("zero_shot", opened=opened["opened"])
    assert 0 < found["mistake_count"] == len(found["mistakes"])
    chances = [one["probability"] for one in found["mistakes"]]
    assert chances == sorted(chances, reverse=True)
    first = found["mistakes"][0]
    assert Path(first["image"]).name.startswith(first["true"])
    where = {"true": found["classes"].index(first["true"]), "predicted": found["classes"].index(first["predicted"])}
    cell = desk.ask("cell", result=found["result"], **where)
    assert first["image"] in [one["image"] for one in cell["images"]]
    assert all(Path(one["image"]).name.startswith(first["true"]) for one in cell["images"])
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
    assert desk.ask("cell", result=found["result"], offset=cell["total"], **where)["images"] == []
    rest = desk.ask("mistakes", result=found["result"], offset=1)
    assert [one["image"] for one in rest["images"]] == [one["image"] for one in found["mistakes"][1:]]


def test_a_fused_probe_is_returned_beside_the_image_only_one(
    desk: Desk, run: str, opened: Answer, probed: Answer
) -> None:
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
def test_images_are_fused_with_text_that_reveals_no_label(run: str, val: str, text: str) -> None:
    model = open_model(run)
    network = model.network
    names = ("black", "blue", "green", "red")
    embedded = encode_texts(network, [f"a {name}" for name in names], model.runtime)
    joining = FusedEncoder(model, text, names, ("a {}",), embedded)
    data = open_dataset(val, model.data, network.image_size, network.towers.tokenize)
    source_images = torch.stack([centre_view(data.image(row), network.image_size) for row in range(4)])
    made = joining(source_images)
    others = (replace(joining, templates=("the {}",)), replace(joining, classes=names[::-1]))
    assert len({one.cache_key for one in (joining, *others)}) == 3, "what is kept of one is not taken for another"
    for source_image, row in zip(source_images, made, strict=True):
        with torch.no_grad():
            each = [network.fuse(source_image[None], network.towers.tokenize([f"a {name}"]))[0] for name in names]
            image = network.encode_images(source_image[None])[0]
        expected = torch.stack(each).mean(dim=0) if text == "classes" else each[int((embedded @ image).argmax())]
        assert torch.allclose(row, expected, atol=1e-4)


def test_a_few_shot_curve_arrives_point_by_point(desk: Desk, opened: Answer) -> None:
    desk.partials.clear()
    found = desk.ask("few_shot", opened=opened["opened"], shots=[2, 1], draws=2)
    assert [point["shots"] for point in found["curve"]] == [1, 2]
    assert [len(one["curve"]) for one in desk.partials] == [1, 2]
    for point in found["curve"]:
        assert point["accuracy"] == pytest.approx(sum(point["draws"]) / 2)
        assert 0 <= point["low"] <= point["accuracy"] <= point["high"] <= 1


def test_student_and_teacher_are_compared_on_the_same_images(desk: Desk, run: str, val: str, probed: Answer) -> None:
    other = desk.ask("open", model=run, data=val, label="colour", weights="student")
    student = desk.ask("probe", opened=other["opened"])
    both = desk.ask("compare", a=probed["result"], b=student["result"])
    assert both["differences"]["acc1"]["value"] == pytest.approx(
        probed["accuracy"]["value"] - student["accuracy"]["value"]
    )
    shapes = desk.ask("open", model=run, data=val, label="shape")
    by_shape = desk.ask("knn", opened=shapes["opened"], k=3)
    with pytest.raises(UserError, match="evaluate both on the same data"):
        desk.ask("compare", a=probed["result"], b=by_shape["result"])


def test_packed_cells_round_trip(desk: Desk, run: str, val: str, probed: Answer) -> None:
    opened = desk.ask("open", model=run, data=val, label="colour", packed=True)
    cells = desk.ask("probe", opened=opened["opened"])["confusion"]
    read = {name: [*memoryview(base64.b64decode(text)).cast("i")] for name, text in cells.items()}
    assert read == probed["confusion"]
