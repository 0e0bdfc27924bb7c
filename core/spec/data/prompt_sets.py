"""Prompts for zero-shot classification: templates and class names.

A text file contains one template per line with ``{}`` for the class name (or ``{c}``, as in CLIP_benchmark's files);
empty lines and lines that begin with ``#`` are skipped. A JSON file may also contain class names::

    {"templates": ["a photo of a {}."], "classes": {"cat": ["cat", "kitten"], "n02084071": ["dog"]}}

Other classes are named by their label. The bundled sets are in ``resources/prompts``. The window passes edited prompts
as JSON text (beginning with ``{``) instead of a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, UnreadableError, excerpt, parse_json, read_text, validate
from core.spec.resources import resource_folder

DEFAULT_TEMPLATES = "photo"
PROMPTS_FOLDER = resource_folder("prompts")

MAX_FILE_BYTES = MEGABYTE
MAX_TEMPLATES = 1000  # each template is encoded for every class
MAX_CLASSES = 100_000
MAX_CLASS_NAMES = 100  # names per class
MAX_PROMPT_LENGTH = 1000  # characters in a template or a class name


class _File(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", defer_build=True)

    templates: list[str]
    classes: dict[str, list[str]] = {}


@dataclass(frozen=True)
class PromptSet:
    """Templates and class names. ``names`` has at least one name for each class that is not named by its label."""

    templates: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def names_of(self, label: str) -> tuple[str, ...]:
        """The names of a class, the main one first."""
        return self.names.get(label, (label,))

    def to_json(self) -> str:
        """JSON text for `read_prompts`."""
        content = {
            "templates": list(self.templates),
            "classes": {name: list(class_names) for name, class_names in self.names.items()},
        }
        return json.dumps(content, ensure_ascii=False, indent=1)


def bundled_templates() -> list[str]:
    """The names of the bundled sets."""
    return sorted(file.stem for file in PROMPTS_FOLDER.glob("*.txt"))


def is_inline(source: str | Path) -> bool:
    """Whether a source is JSON text rather than a path."""
    return str(source).lstrip().startswith("{")


def read_prompts(source: str | Path, *, error: type[UserError] = UnreadableError) -> PromptSet:
    """The prompts in a bundled set, in a text or JSON file (UTF-8), or in JSON text.

    Raises ``error`` for an unknown name, a file that cannot be read or is too large, and a template without ``{}``.
    """
    if is_inline(source):
        return _parse_json_prompts(str(source), "the edited prompts", error)
    source_text = str(source)
    text = _read(PROMPTS_FOLDER / f"{source}.txt" if source in bundled_templates() else Path(source), error)
    if is_inline(text):
        return _parse_json_prompts(text, source_text, error)
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    used = [(f"{source_text}, line {number}", line) for number, line in lines if line and not line.startswith("#")]
    return PromptSet(_templates(used, source_text, error))


def _parse_json_prompts(text: str, source_text: str, error: type[UserError]) -> PromptSet:
    if len(text) > MAX_FILE_BYTES:
        raise error(f"{source_text} has {len(text)} characters; use at most {MAX_FILE_BYTES}.")
    content = validate(_File, parse_json(text, source_text, error=error), source_text, error=error)
    numbered = enumerate((template.strip() for template in content.templates), start=1)
    templates = _templates(
        [(f"{source_text}, template {number}", template_text) for number, template_text in numbered if template_text],
        source_text,
        error,
    )
    if len(content.classes) > MAX_CLASSES:
        raise error(f"{source_text} has {len(content.classes)} classes; use at most {MAX_CLASSES}.")
    names = {}
    for label, class_names in content.classes.items():
        distinct = tuple(dict.fromkeys(clean for name in class_names if (clean := " ".join(name.split()))))
        if len(distinct) > MAX_CLASS_NAMES or any(len(name) > MAX_PROMPT_LENGTH for name in distinct):
            raise error(
                f"{source_text}: the class '{excerpt(label)}' has too many or too long names; use at most "
                f"{MAX_CLASS_NAMES} names of at most {MAX_PROMPT_LENGTH} characters."
            )
        if distinct and distinct != (label,):
            names[label] = distinct
    return PromptSet(templates, names)


def _templates(numbered: Sequence[tuple[str, str]], source_text: str, error: type[UserError]) -> tuple[str, ...]:
    """The distinct templates of ``numbered`` (location, text)."""
    if not numbered:
        raise error(f"{source_text} contains no prompt template; write one per line, such as: a photo of a {{}}.")
    for location, line in numbered:
        if "{}" not in line and "{c}" not in line:
            raise error(f"{location}: '{excerpt(line)}' has no placeholder {{}} for the class name; add one.")
        if len(line) > MAX_PROMPT_LENGTH:
            raise error(f"{location} has {len(line)} characters; shorten the prompt to {MAX_PROMPT_LENGTH}.")
    templates = tuple(dict.fromkeys(line.replace("{c}", "{}") for _, line in numbered))
    if len(templates) > MAX_TEMPLATES:
        raise error(f"{source_text} has {len(templates)} prompt templates; use at most {MAX_TEMPLATES}.")
    return templates


def _read(path: Path, error: type[UserError]) -> str:
    try:
        return read_text(path, MAX_FILE_BYTES, error=error, encoding="utf-8-sig")
    except FileNotFoundError as problem:
        names = ", ".join(bundled_templates())
        raise error(f"{path} is neither a file nor one of the bundled prompt sets: {names}.") from problem
