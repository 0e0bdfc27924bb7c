"""An experiment on data of one's own: which table, folder or split of a folder is taken for what."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.spec.errors import UserError
from sdgui.shared import own_data
from sdgui.shared.own_data import own_data_config


def taken(source: Path) -> tuple[str, ...]:
    data = own_data_config(source).data
    return tuple(Path(path).name for path in (data.train, data.val, data.test))


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["Training.TSV", "dev.jsonl", "TEST.csv"], ("Training.TSV", "dev.jsonl", "TEST.csv")),
        (["train.csv", "validation.json"], ("train.csv", "validation.json", "")),
        (["train/", "val/", "other.csv"], ("train", "val", "")),
        (["train.csv", "val.txt"], ("train.csv", "", "")),
        (["train.png", "val.csv", "test.csv"], ("mine", "", "")),
        (["val.csv"], ("val.csv", "", "")),
        (["a.csv", "b.tab"], ("mine", "", "")),
        (["a.ndjson", "cats/", "notes.txt"], ("a.ndjson", "", "")),
        (["cats/", "dogs.csv/"], ("mine", "", "")),
        (["train.txt", "train.csv"], ("train.csv", "", "")),
    ],
)
def test_the_contents_of_a_folder_decide_the_training_data(
    tmp_path: Path, names: list[str], found: tuple[str, ...]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in names:
        (folder / name).mkdir() if name.endswith("/") else (folder / name).touch()
    assert taken(folder) == found
    assert own_data_config(folder).name == "mine"


def test_the_included_model_is_kept_near_its_features_of_general_images(tmp_path: Path) -> None:
    config = own_data_config(tmp_path)
    anchors = config.objectives.image_anchors
    assert (config.data.retain, anchors.source, anchors.weight) == ("general", "general", 1.0)
    assert config.towers.pretrained.endswith("emoji-coca")


@pytest.mark.parametrize("ending", [".TSV", ".jsonl"])
def test_a_table_is_trained_on_unchanged(tmp_path: Path, ending: str) -> None:
    table = tmp_path / f"pairs.v2{ending}"
    table.touch()
    config = own_data_config(table)
    assert (config.name, config.data.train) == ("pairs.v2", str(table))
    assert (config.preset, config.data.val, config.data.test) == (own_data.PRESET, "", "")


def test_an_unreadable_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match=r"cannot be read: Permission denied\. Check its permissions\."):
        own_data_config(tmp_path)


def test_unsupported_data_are_reported(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for name, why in (("notes.txt", "is not a table of pairs"), ("gone.txt", "does not exist")):
        with pytest.raises(UserError, match=rf"{name} {why}: choose a folder of images, or a table"):
            own_data_config(tmp_path / name)
    assert own_data_config(tmp_path / "later.csv").name == "later", "a table may come later"
