"""What is photographed, in one small file: studies without weights and images, and workers' answers.

Flow: ``pack`` of a home in which the studies are done -> ``resources/screenshots/recording.tar.xz`` -> ``unpack`` into
a new home, in any folder and on any computer; the images of the data are rendered there again.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from core.spec.children import environment, python_command
from tests.screenshots.answers import with_paths, without_paths

ANSWERS = "answers.jsonl"
STUDIES = "studies"
_TEXTS = (".json", ".jsonl", ".csv", ".md")
_WEIGHTS = ".safetensors"
_ANY_HOST = {"host": ""}


def pack(file: Path, home: Path, answers: str) -> None:
    """Write what windows read of the studies in ``home``, and workers' ``answers``; OSError.

    Weights are there by their names alone, so that models can be chosen. Times of files are left out, so that the same
    studies give the same bytes.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:xz", preset=9) as archive:
        _add(archive, ANSWERS, answers.encode())
        for path in sorted((home / STUDIES).rglob("*")):
            name = path.relative_to(home).as_posix()
            if path.suffix == _WEIGHTS and path.stem != "state":
                _add(archive, name, b"")
            elif path.is_file() and path.suffix in _TEXTS:
                text = without_paths(path.read_text(encoding="utf-8"), home)
                if path.name == "status.json":
                    text = json.dumps(json.loads(text) | _ANY_HOST)
                _add(archive, name, text.encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def unpack(file: Path, home: Path) -> Path:
    """Unpack the recording into the new folder ``home`` and render the images; returns the file of answers.

    Raises RuntimeError when the images cannot be rendered.
    """
    home.mkdir(parents=True)
    with tarfile.open(file, "r:xz") as archive:
        archive.extractall(home, filter="data")
    for path in (home / STUDIES).rglob("*"):
        if path.suffix in _TEXTS:
            path.write_text(with_paths(path.read_text(encoding="utf-8"), home), encoding="utf-8")
    rendered = home / "rendered"
    command = [*python_command("core"), "demo-data", str(rendered)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the demo's images could not be rendered: {done.stderr.strip()}")
    for data in (home / STUDIES).glob("*/data/openmoji"):
        shutil.copytree(rendered / "images", data / "images", copy_function=os.link)
    shutil.rmtree(rendered)
    return home / ANSWERS
