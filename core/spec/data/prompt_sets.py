"""Prompts of zero-shot classification: templates, and the names by which classes are called in them.

A text file holds one template per line with ``{}`` where the class name goes (``{c}``, as in CLIP_benchmark's files, is
the same); empty lines and lines that begin with ``#`` are skipped. A JSON file may name classes too::

    {"templates": ["a photo of a {}."], "classes": {"cat": ["cat", "kitten"], "n02084071": ["dog"]}}

A class that it does not name is called by its label. The bundled sets are in ``resources/prompts``. The text of a JSON
file, which begins with ``{``, stands for the file: so the window hands over what it edits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, UnreadableError, checked, excerpt, parse_json, read_text
from core.spec.resources import resource_folder

DEFAULT_TEMPLATES = "photo"
FOLDER = resource_folder("prompts")

LARGEST_FILE = MEGABYTE
MOST = 1000  # templates; each is encoded for every class
MOST_CLASSES = 100_000
MOST_NAMES = 100  # of one class
LONGEST = 1000  # characters of a template or a name


class _File(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", defer_build=True)

    templates: list[str]
    classes: dict[str, list[str]] = {}


@dataclass(frozen=True)
class PromptSet:
    """``names``: of the classes that are not called by their labels; each has one at least."""

    templates: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def names_of(self, label: str) -> tuple[str, ...]:
        """What a class is called, the usual name first."""
        return self.names.get(label, (label,))

    def to_json(self) -> str:
        """As `read_prompts` takes it, as a file or in place of one."""
        content = {"templates": list(self.templates), "classes": {name: list(own) for name, own in self.names.items()}}
        return json.dumps(content, ensure_ascii=False, indent=1)


def bundled_templates() -> list[str]:
    """Names of the sets that come with the program."""
    return sorted(file.stem for file in FOLDER.glob("*.txt"))


def is_inline(source: str | Path) -> bool:
    """Whether a source is the text of a JSON file itself."""
    return str(source).lstrip().startswith("{")


def read_prompts(source: str | Path, *, error: type[UserError] = UnreadableError) -> PromptSet:
    """A bundled set by name, a text or JSON file (UTF-8), or the text of a JSON file.

    Raises ``error`` for an unknown name, a file that cannot be read or is too large, and a template without ``{}``.
    """
    if is_inline(source):
        return _of_json(str(source), "the edited prompts", error)
    shown = excerpt(str(source))
    text = _read(FOLDER / f"{source}.txt" if source in bundled_templates() else Path(source), error)
    if is_inline(text):
        return _of_json(text, shown, error)
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    used = [(f"{shown}, line {number}", line) for number, line in lines if line and not line.startswith("#")]
    return PromptSet(_templates(used, shown, error))


def _of_json(text: str, shown: str, error: type[UserError]) -> PromptSet:
    if len(text) > LARGEST_FILE:
        raise error(f"{shown} holds {len(text)} characters; prompts may have {LARGEST_FILE}.")
    found = checked(_File, parse_json(text, shown, error=error), shown, error=error)
    numbered = enumerate((template.strip() for template in found.templates), start=1)
    templates = _templates([(f"{shown}, template {at}", one) for at, one in numbered if one], shown, error)
    if len(found.classes) > MOST_CLASSES:
        raise error(f"{shown} names {len(found.classes)} classes, more than {MOST_CLASSES}; give fewer.")
    names = {}
    for label, own in found.classes.items():
        given = tuple(dict.fromkeys(clean for name in own if (clean := " ".join(name.split()))))
        if len(given) > MOST_NAMES or any(len(name) > LONGEST for name in given):
            raise error(
                f"{shown}: the class '{excerpt(label)}' has more than {MOST_NAMES} names, or one of more than "
                f"{LONGEST} characters; give fewer and shorter ones."
            )
        if given and given != (label,):
            names[label] = given
    return PromptSet(templates, names)


def _templates(given: Sequence[tuple[str, str]], shown: str, error: type[UserError]) -> tuple[str, ...]:
    """``given``: where each stands, and itself."""
    if not given:
        raise error(f"{shown} holds no prompt template; write one per line, such as: a photo of a {{}}.")
    for where, line in given:
        if "{}" not in line and "{c}" not in line:
            raise error(f"{where}: '{excerpt(line)}' has no {{}} where the class name goes.")
        if len(line) > LONGEST:
            raise error(f"{where} has {len(line)} characters; a prompt may have {LONGEST}, so shorten it.")
    templates = tuple(dict.fromkeys(line.replace("{c}", "{}") for _, line in given))
    if len(templates) > MOST:
        raise error(f"{shown} has {len(templates)} prompt templates, more than {MOST}; give fewer.")
    return templates


def _read(path: Path, error: type[UserError]) -> str:
    try:
        return read_text(path, LARGEST_FILE, error=error, encoding="utf-8-sig")
    except FileNotFoundError as problem:
        names = ", ".join(bundled_templates())
        raise error(f"{excerpt(str(path))} is neither a file nor one of the bundled prompt sets: {names}.") from problem
