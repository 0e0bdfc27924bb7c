"""Folders and names that are no index's: left alone, and refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.__main__ import main
from core.data.errors import DataError
from core.data.sources.opening import open_source
from core.search.collection import open_index
from core.search.errors import IndexFolderError
from core.search.index import encoding
from core.search.index.build import build_index, relocate
from tests.core.search.samples import MODEL, build, files_of, quiet, write_images


@pytest.mark.parametrize(
    ("mine", "message"),
    [
        ("manifest.json", r"contains a manifest\.json that does not belong to an index; choose an empty folder"),
        ("images-holiday.bin", r"contains images-holiday\.bin but is not an index; choose an empty folder"),
        ("records-0001.bin", r"contains records-0001\.bin but is not an index; choose an empty folder"),
        ("texts-old.tmp", r"contains texts-old\.tmp but is not an index; choose an empty folder"),
    ],
)
def test_a_folder_with_other_files_is_left_alone(
    made: tuple[Path, Path], tmp_path: Path, mine: str, message: str
) -> None:
    (tmp_path / mine).write_text('{"name": "mine", "version": 3}', encoding="utf-8")
    before = files_of(tmp_path)
    with pytest.raises(IndexFolderError, match=message):
        build(made[0], tmp_path)
    assert files_of(tmp_path) == before


def test_only_index_files_are_cleared(own: tuple[Path, Path]) -> None:
    expected = files_of(own[1])
    of_index = ("images-0009.bin", "texts-0002.bin.77-0123456789ab.tmp", "ivf-0001-images-0001048576.4bit.faiss")
    for name in ("images-holiday.bin", "scan-mine.bin", *of_index):
        (own[1] / name).write_bytes(b"x")
    build(*own)
    assert set(files_of(own[1])) == {*expected, "images-holiday.bin", "scan-mine.bin"}


def test_an_unreadable_manifest_is_not_called_damaged(own: tuple[Path, Path]) -> None:
    for name in ("manifest.json", "manifest.copy.json"):
        (own[1] / name).unlink()
        (own[1] / name).mkdir()
    with pytest.raises(IndexFolderError, match=r"manifest\.json is a folder, not a file; choose a regular file"):
        build(*own)


def test_a_damaged_index_is_not_relocated(own: tuple[Path, Path], tmp_path: Path) -> None:
    file = own[1] / "images-0001.bin"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 64
    file.write_bytes(content)
    before = files_of(own[1])
    with pytest.raises(IndexFolderError, match="is damaged; run sdgui-core index without --relocate first"):
        relocate(own[1], str(own[0]), str(tmp_path), quiet)
    assert files_of(own[1]) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["~nobody-has-this-name/run", "images", "index"], "there is no model '~nobody-has-this-name/run'"),
        ([MODEL, "~nobody-has-this-name/images", "index"], "~nobody-has-this-name/images does not exist"),
    ],
)
def test_an_unknown_home_directory_is_a_plain_name(
    tmp_path: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "images", captions=False)
    assert main(["index", *arguments]) == 1
    assert message in capsys.readouterr().err
    with pytest.raises(DataError, match="There is no data at ~nobody-has-this-name"):
        open_source("~nobody-has-this-name/train.csv")


def test_another_model_is_refused_with_both_names(own: tuple[Path, Path]) -> None:
    with pytest.raises(IndexFolderError, match="built with open_clip:sd-tiny, not open_clip:sd-demo"):
        build_index("open_clip:sd-demo", str(own[0]), own[1], quiet, lambda text: None)
    with pytest.raises(IndexFolderError, match=r"built with open_clip:sd-tiny \(weights .*\), not open_clip:sd-demo"):
        open_index(own[1], quiet, "open_clip:sd-demo")


def test_another_preprocessing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "images", tmp_path / "index"
    write_images(own[0])
    build(*own)
    original = encoding.preprocessing
    monkeypatch.setattr(encoding, "preprocessing", lambda model: {**original(model), "crop": "none"})
    with pytest.raises(IndexFolderError, match=r"images with crop centre, but .* uses crop none"):
        open_index(own[1], quiet)
    before = files_of(own[1])
    write_images(own[0] / "more")
    with pytest.raises(IndexFolderError, match=r"images with crop centre, but .* uses crop none"):
        build(*own)
    assert files_of(own[1]) == before, "rows that cannot be compared are not added"


def test_another_source_is_refused(own: tuple[Path, Path], tmp_path: Path) -> None:
    write_images(tmp_path / "others")
    with pytest.raises(IndexFolderError, match=r"was built from .*images, not from .*others"):
        build(tmp_path / "others", own[1])


def test_images_that_cannot_be_read_are_not_called_an_empty_index(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "text.png").write_text("no image")
    build(tmp_path / "images", tmp_path / "index")
    with pytest.raises(IndexFolderError, match=r"no image can be read, such as .*text\.png: "):
        open_index(tmp_path / "index", quiet)
