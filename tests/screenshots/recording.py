"""What is photographed, in one small file: the study's folders without its weights and images, and workers' answers.

Flow: `tests.screenshots.home` trains -> ``pack`` -> ``resources/screenshots/recording.tar.xz`` -> ``unpack`` into a new
home, in any folder and on any computer; the images of the data are drawn there again.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

from core.spec.children import environment, python_command
from core.spec.study import StudyDir
from tests.screenshots.answers import with_path, without_path

ANSWERS = "answers.jsonl"
_STUDY = "study"
_TEXTS = (".json", ".jsonl", ".csv", ".md")
_WEIGHTS = ".safetensors"
_HERE = {"host": ""}  # a status that names no computer is of any


def pack(file: Path, study: Path, answers: str) -> None:
    """Write what windows read of ``study`` and workers' ``answers``; OSError.

    Weights are there by their names alone, so that models can be chosen. Times of files are left out, so that the same
    study gives the same bytes.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:xz", preset=9) as archive:
        _add(archive, ANSWERS, answers.encode())
        for path in sorted(study.rglob("*")):
            name = f"{_STUDY}/{path.relative_to(study).as_posix()}"
            if path.suffix == _WEIGHTS and path.stem != "state":
                _add(archive, name, b"")
            elif path.is_file() and path.suffix in _TEXTS:
                text = without_path(path.read_text(encoding="utf-8"), study)
                if path.name == "status.json":
                    text = json.dumps(json.loads(text) | _HERE)
                _add(archive, name, text.encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def unpack(file: Path, home: Path) -> tuple[Path, Path]:
    """Lay out the recording in the new folder ``home``, draw the images; the study's folder, the file of answers.

    Raises RuntimeError when the images cannot be drawn.
    """
    home.mkdir(parents=True)
    with tarfile.open(file, "r:xz") as archive:
        archive.extractall(home, filter="data")
    study = home / "studies" / "wrong-captions"
    study.parent.mkdir()
    (home / _STUDY).rename(study)
    for path in study.rglob("*"):
        if path.suffix in _TEXTS:
            path.write_text(with_path(path.read_text(encoding="utf-8"), study), encoding="utf-8")
    drawn = home / "drawn"
    command = [*python_command("core"), "demo-data", str(drawn)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the demo's images could not be drawn: {done.stderr.strip()}")
    (drawn / "images").rename(StudyDir(study).data / "openmoji" / "images")
    shutil.rmtree(drawn)
    return study, home / ANSWERS
