"""Jobs of a study on a machine: their names, folders and files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.remote.study_jobs import _MAX_CHARACTERS, parse_study_task, write_study
from core.spec.errors import UserError
from core.spec.study import StudyDir

ARM = "0123abcd"


def test_runs_and_steps_are_named_by_arm_and_number(tmp_path: Path) -> None:
    out = StudyDir(tmp_path / "studies" / "mine")
    for given, folder, result, name in (
        (("run", ARM, "3", "100"), out.run(ARM, 3).path, "exports/measures.json", f"mine:{ARM}:run3"),
        (("step", ARM, "2"), out.times / f"{ARM}-2", "exports/step.json", f"mine:{ARM}:step2"),
    ):
        work = parse_study_task(tmp_path, "mine", given)
        assert (work.run.path, work.result, work.name) == (folder, result, name)
        assert work.arguments == (given[0], str(out.path), *given[1:])


def test_jobs_of_different_studies_have_different_slurm_names(tmp_path: Path) -> None:
    """A repeated request finds its job by name, so names must be unique."""
    tasks = [("a", "b-c", ("run", "3", "9")), ("a-b", "c", ("run", "3", "9")), ("a", "b-c-3", ("step", "0"))]
    names = [parse_study_task(tmp_path, study, (kind, arm, *rest)).name for study, arm, (kind, *rest) in tasks]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("run", ARM, "3"),
        ("run", ARM, "3", "100", "5"),
        ("run", ARM, "3", "-1"),
        ("run", ARM, "3", "9" * 20),
        ("step", ARM, "1.5"),
        ("stop", ARM, "1"),
    ],
    ids=" ".join,
)
def test_other_names_are_no_task(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="is not a job of a study; update sdgui"):
        parse_study_task(tmp_path, "mine", words)


@pytest.mark.parametrize("name", ["", "..", "a/b", "-rf", "a\n", "x" * 62])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    for study, arm in ((name, ARM), ("mine", name)):
        with pytest.raises(UserError, match="is not a valid name for a study's folder"):
            parse_study_task(tmp_path, study, ("step", arm, "1"))


def test_files_are_written_only_if_they_differ(tmp_path: Path) -> None:
    files = {"study.json": "{}", f"arms/{ARM}.json": "ä"}
    write_study(tmp_path, "mine", files)
    folder = tmp_path / "studies" / "mine"
    arm, study = folder / "arms" / f"{ARM}.json", folder / "study.json"
    assert (study.read_bytes(), arm.read_bytes()) == (b"{}", "ä".encode())
    before = arm.stat()
    write_study(tmp_path, "mine", files | {"study.json": "{ }"})
    after = arm.stat()
    assert study.read_bytes() == b"{ }"
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), "an equal file is not rewritten"


@pytest.mark.parametrize(
    "name",
    [
        "", "study.json/", "study_json", "../study.json", "arms/../study.json", f"arms/{ARM}.json.x",
        f"x/arms/{ARM}.json",
    ],
)  # fmt: skip
def test_other_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="is not a file of a study; update sdgui"):
        write_study(tmp_path, "mine", {name: "{}"})
    assert not list(tmp_path.rglob("*.*")), "nothing is written"


def test_file_size_is_bounded_and_disk_errors_are_reported(tmp_path: Path) -> None:
    write_study(tmp_path, "mine", {"study.json": "x" * _MAX_CHARACTERS})
    with pytest.raises(UserError, match=re.escape("study.json is not a file of a study")):
        write_study(tmp_path, "mine", {"study.json": "y" * (_MAX_CHARACTERS + 1)})
    path = tmp_path / "studies" / "mine" / "study.json"
    assert path.read_bytes() == b"x" * _MAX_CHARACTERS
    (path.parent / "arms").write_text("a file in the way")
    with pytest.raises(UserError, match=ARM):
        write_study(tmp_path, "mine", {f"arms/{ARM}.json": "{}"})
