"""Prompt templates: the sets that come with the program, and the user's own files.

A file holds one template per line with ``{}`` where the class name goes (``{c}``, as in CLIP_benchmark's files, is the
same); empty lines and lines that begin with ``#`` are skipped. The bundled sets are in ``resources/prompts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.metrics.classification.labels import prompt_name
from core.metrics.inputs import EvaluationError
from core.spec.reading import MEGABYTE, excerpt, read_text
from core.spec.resources import resource_folder

DEFAULT_TEMPLATES = "photo"
FOLDER = resource_folder("prompts")

LARGEST_FILE = MEGABYTE
MOST = 1000  # templates; each is encoded for every class
LONGEST = 1000  # characters of one


def bundled_templates() -> list[str]:
    """Names of the sets that come with the program."""
    return sorted(file.stem for file in FOLDER.glob("*.txt"))


def load_templates(source: str | Path) -> tuple[str, ...]:
    """Templates of a bundled set, by name, or of a text file (UTF-8).

    Raises EvaluationError for an unknown name, a file that cannot be read or is too large, and a line without ``{}``.
    """
    shown = excerpt(str(source))
    text = _read(FOLDER / f"{source}.txt" if source in bundled_templates() else Path(source))
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    used = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not used:
        raise EvaluationError(f"{shown} holds no prompt template; write one per line, such as: a photo of a {{}}.")
    for number, line in used:
        if "{}" not in line and "{c}" not in line:
            raise EvaluationError(f"{shown}, line {number}: '{excerpt(line)}' has no {{}} where the class name goes.")
        if len(line) > LONGEST:
            raise EvaluationError(
                f"{shown}, line {number} has {len(line)} characters; a prompt may have {LONGEST}, so shorten it."
            )
    templates = tuple(dict.fromkeys(line.replace("{c}", "{}") for _, line in used))
    if len(templates) > MOST:
        raise EvaluationError(f"{shown} has {len(templates)} prompt templates, more than {MOST}; give fewer.")
    return templates


def _read(path: Path) -> str:
    try:
        return read_text(path, LARGEST_FILE, error=EvaluationError, encoding="utf-8-sig")
    except FileNotFoundError as error:
        names = ", ".join(bundled_templates())
        raise EvaluationError(
            f"{excerpt(str(path))} is neither a file nor one of the bundled prompt sets: {names}."
        ) from error


def prompts(name: str, templates: Sequence[str]) -> list[str]:
    """Each template with the class ``name``, as `prompt_name` tidies it, for its ``{}``."""
    return [template.replace("{}", prompt_name(name)) for template in templates]
