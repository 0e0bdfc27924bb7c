"""What is done with a probe: tried on images, saved, loaded, applied to folders."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from core.inference import extraction
from core.inference.encoder import encode_texts
from core.metrics.classification.prompts import load_templates
from core.spec.errors import UserError
from tests.core.labelled import read
from tests.core.worker.classify.desk_helpers import Answer, Desk


def test_images_are_classified_by_probe_and_by_typed_names(
    desk: Desk, run: str, val: str, place: Path, probed: Answer, tmp_path: Path
) -> None:
    image = str(place / "pairs" / read(val)[0][0])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    names = ["Golden_Retriever", "  ", "Füchse", "😀 face", "golden retriever"]
    found = desk.ask(
        "try", images=[image, str(broken), "/nowhere.png"], model=run, probe=probed["result"], classes=names, top=3
    )
    first, second, third = found["images"]
    assert sum(one["probability"] for one in first["probe"]) <= 1.0001
    assert {one["class"] for one in first["zero_shot"]} <= {"Golden_Retriever", "Füchse", "😀 face", "golden retriever"}
    assert len(first["zero_shot"]) == 3
    assert second["probe"] is None
    assert "supported format" in second["error"]
    assert third["error"] == "the file does not exist"


def test_typing_encodes_only_new_names(
    desk: Desk, run: str, val: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = str(place / "pairs" / read(val)[0][0])
    desk.ask("try", images=[image], model=run, classes=["cat", "dog"])
    calls: list[int] = []

    monkeypatch.setattr(
        extraction,
        "encode_texts",
        lambda network, texts, runtime: calls.append(len(texts)) or encode_texts(network, texts, runtime),
    )
    monkeypatch.setattr("core.worker.classify.trying.encode_layers", None)
    one = desk.ask("try", images=[image], model=run, classes=["dog", "cat"])
    assert calls == [], "known names and images are not encoded again"
    assert one["images"][0]["zero_shot"]
    desk.ask("try", images=[image], model=run, classes=["dog", "cat", "fox"])

    assert sum(calls) == len(load_templates("photo"))


@pytest.mark.parametrize("kind", ["image", "fused"])
def test_a_loaded_probe_is_evaluated_on_the_test_split(
    desk: Desk, run: str, place: Path, kind: str, tmp_path: Path
) -> None:
    for image in (place / "pairs").glob("*.png"):
        folder = tmp_path / "data" / image.name.split("-")[0]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, folder)
    opened = desk.ask("open", model=run, data=str(tmp_path / "data"))
    fitted = desk.ask("probe", opened=opened["opened"], kind=kind)
    saved = desk.ask("save_probe", result=fitted["result"], path=str(tmp_path / "mine"))
    assert json.loads(Path(saved["json"]).read_text(encoding="utf-8"))["classes"] == opened["classes"]
    loaded = desk.ask("load_probe", path=saved["path"], opened=opened["opened"])["result"]
    assert loaded["samples"] == fitted["samples"] == opened["data"]["labelled"] < 48
    assert loaded["accuracy"] == fitted["accuracy"]
    assert loaded["mistakes"] == fitted["mistakes"]


def test_a_probe_classifies_a_folder_into_a_table(
    desk: Desk, run: str, place: Path, probed: Answer, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(place / "pairs", folder)
    (folder / "broken.png").write_bytes(b"no image")
    out = tmp_path / "out.csv"
    done = desk.ask("apply", probe=probed["result"], images=[str(folder)], out=str(out), model=run)
    assert done["images"] == 48
    assert done["unreadable_count"] == 1
    assert sum(one["images"] for one in done["classes"]) == 48
    rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    assert len(rows) == 49
    for row in rows:
        if row["error"]:
            assert row["filepath"].endswith("broken.png")
            continue
        chances = {name: float(row[f"p({name})"]) for name in ("black", "blue", "green", "red")}
        assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
        assert row["class"] == max(chances, key=chances.__getitem__)


def test_a_probe_of_another_model_or_layer_is_refused(
    desk: Desk, run: str, val: str, probed: Answer, tmp_path: Path
) -> None:
    saved = desk.ask("save_probe", result=probed["result"], path=str(tmp_path / "probe"))
    other = desk.ask("open", model="open_clip:sd-tiny", data=val, label="colour", train="split")
    with pytest.raises(UserError, match="the probe belongs to the model"):
        desk.ask("load_probe", path=saved["path"], opened=other["opened"])
    layer = desk.ask("open", model=run, data=val, label="colour", layer="block 1")
    with pytest.raises(UserError, match="open the data with that layer"):
        desk.ask("load_probe", path=saved["path"], opened=layer["opened"])


def test_an_existing_file_is_replaced_only_on_request(desk: Desk, run: str, probed: Answer, tmp_path: Path) -> None:
    mine, table = tmp_path / "mine.json", tmp_path / "out.csv"
    for path in (mine, table):
        path.write_text("a user's")
    save = {"result": probed["result"], "path": str(tmp_path / "mine")}
    apply = {"probe": probed["result"], "images": [str(Path(run).parent / "pairs")], "out": str(table), "model": run}
    for verb, asked in (("save_probe", save), ("apply", apply)):
        with pytest.raises(UserError, match=r"already exists.*; choose another name"):
            desk.ask(verb, **asked)
    assert {mine.read_text(), table.read_text()} == {"a user's"}
    assert desk.ask("apply", **apply, replace=True)["images"] == 48
    assert "a user's" not in table.read_text()
    mine.unlink()
    for _ in range(2):
        assert desk.ask("save_probe", **save, replace=True)["json"] == str(mine)
