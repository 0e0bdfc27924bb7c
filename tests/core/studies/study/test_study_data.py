"""The data of a study: where each lies, what is made of it once, and what is said where it cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.data.demo.openclipart import COUNTS_FILE, missing_source_message
from core.spec.errors import UserError
from core.spec.study import DEMO, OPENCLIPART, Study, StudyDir
from core.studies.study import data
from core.studies.study.data import data_path, demo_folder, openclipart_folder, prepare
from tests.core.studies.study.test_study import study_dict

DATA = {"train": f"{DEMO}train.csv", "art": f"{OPENCLIPART}train.csv", "val": "/data/val.csv"}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What was rendered, copied and written, in place of doing so; every second caption of a noisy copy is wrong."""
    did: list[tuple[str, ...]] = []

    def render(folder: Path) -> None:
        did.append(("rendered", folder.name))
        folder.mkdir(parents=True)
        (folder / "demo.json").touch()

    def copy(source: Path, folder: Path, log: Any) -> None:
        did.append(("copied", str(source), folder.name))
        folder.mkdir(parents=True)
        (folder / COUNTS_FILE).touch()

    def spoil(source: Path, share: float, seed: int, noisy: Path, kept: Path, *kind: str) -> tuple[int, int]:
        did.append(("spoilt", source.name, str(share), str(seed), *kind))
        for one in (noisy, kept):
            one.touch()
        return 40, 0 if share < 0.01 else 20

    monkeypatch.setattr(data, "write_demo_data", render)
    monkeypatch.setattr(data, "write_openclipart", copy)
    monkeypatch.setattr(data, "write_noisy", spoil)
    return did


def a_study(**more: Any) -> Study:
    return Study.model_validate(study_dict(data=DATA, **more))


def test_derived_data_are_created_once(tmp_path: Path, made: list[tuple[str, ...]]) -> None:
    out, study, said = StudyDir(tmp_path), a_study(noise={"share": 0.5, "seed": 3, "kind": "word"}), list[str]()
    for _ in range(2):
        prepare(out, study, said.append, Path("/clip-art"))
    noisy = demo_folder(out) / "noisy.csv"
    assert made == [
        ("rendered", "openmoji"), ("copied", "/clip-art", "openclipart"),
        ("spoilt", "train.csv", "0.5", "3", "word", ""),
    ]  # fmt: skip
    assert said == ["rendering the demo data", f"{noisy}: 20 of 40 captions are mismatched (word)"]
    found = [data_path(out, study, name, 0) for name in ("train", "art", "val", "noisy", "kept")]
    assert found == [
        demo_folder(out) / "train.csv", openclipart_folder(out) / "train.csv", Path("/data/val.csv"), noisy,
        demo_folder(out) / "kept.csv",
    ]  # fmt: skip
    (demo_folder(out) / "kept.csv").unlink()
    prepare(out, study, said.append)
    assert made[-1][0] == "spoilt", "both are written anew"


def test_each_run_has_its_own_draw_unless_one_is_named(tmp_path: Path, made: list[tuple[str, ...]]) -> None:
    out, study = StudyDir(tmp_path), a_study(noise={"share": 0.5}, seeds=[4, 9])
    prepare(out, study, print, Path("/clip-art"))
    assert [one[3] for one in made if one[0] == "spoilt"] == ["4", "9"]
    assert [data_path(out, study, name, 9).name for name in ("noisy", "kept", "train")] == [
        "noisy-s9.csv", "kept-s9.csv", "train.csv",
    ]  # fmt: skip
    grown = a_study(noise={"share": 0.5}, seeds=[4, 9, 11])
    prepare(out, grown, print)
    assert [one[3] for one in made if one[0] == "spoilt"] == ["4", "9", "11"], "a new seed gets its draw"


def test_copies_of_user_data_are_not_written_beside_the_originals(tmp_path: Path) -> None:
    study = a_study(noise={"of": "val", "seed": 0})
    assert data_path(StudyDir(tmp_path), study, "noisy", 0) == StudyDir(tmp_path).data / "noisy.csv"


def test_a_copy_without_mismatched_captions_is_refused(tmp_path: Path, made: list[tuple[str, ...]]) -> None:
    with pytest.raises(UserError, match=r"noisy copy of .*train\.csv has no mismatched captions; raise noise\.share\."):
        prepare(StudyDir(tmp_path), a_study(noise={"share": 0.001}), print, Path("/clip-art"))


def test_unavailable_clip_art_is_reported_and_refused_on_request(
    tmp_path: Path, made: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, said = StudyDir(tmp_path), list[str]()
    monkeypatch.setattr(data, "DEFAULT_SOURCE", tmp_path / "gone")
    prepare(out, a_study(), said.append)
    assert (made, said) == ([("rendered", "openmoji")], ["rendering the demo data", missing_source_message()])
    with pytest.raises(UserError) as refused:
        data_path(out, a_study(), "art", 0)
    assert str(refused.value) == missing_source_message()
    (tmp_path / "gone").mkdir()
    prepare(out, a_study(), said.append)
    assert made[1:] == [("copied", str(tmp_path / "gone"), "openclipart")]
