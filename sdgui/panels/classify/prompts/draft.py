"""Prompts being edited: templates and class names, with undo. No Qt.

Flow: the editor's texts -> ``PromptDraft`` -> ``source``, the prompts as JSON for the worker, or ``problem``.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.spec.data.prompt_sets import DEFAULT_TEMPLATES, PromptSet, is_inline, read_prompts
from core.spec.errors import UserError

MAX_UNDO = 200  # undo steps


@dataclass(frozen=True)
class TypedPrompts:
    """Prompts as typed. ``templates``: one per line.

    ``names``: label -> its class names, separated by commas; a label without an entry is its own class name.
    """

    templates: str
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, prompts: PromptSet) -> TypedPrompts:
        """The prompts as text; names that contain a comma are quoted."""
        names = {label: join_names(class_names) for label, class_names in prompts.names.items()}
        return cls("\n".join(prompts.templates), names)

    def prompts(self) -> PromptSet:
        """The parsed prompts. Raises UserError if there is no template or a template lacks ``{}``."""
        names = {label: split_names(text) for label, text in self.names.items()}
        lines = tuple(line.strip() for line in self.templates.splitlines() if line.strip())
        return read_prompts(
            PromptSet(lines, {label: class_names for label, class_names in names.items() if class_names}).to_json()
        )


class PromptDraft:
    """Prompts with undo. ``typed``: the current text; ``base``: the set that ``reset`` restores."""

    def __init__(self) -> None:
        self.base = DEFAULT_TEMPLATES
        self.typed = TypedPrompts.of(_read(self.base))
        self.undo_stack: list[TypedPrompts] = []
        self.redo_stack: list[TypedPrompts] = []

    @property
    def source(self) -> str:
        """The prompts as JSON for the worker. Raises UserError, see `TypedPrompts.prompts`."""
        return self.typed.prompts().to_json()

    @property
    def problem(self) -> str:
        """Why the prompts cannot be used; "" if they can."""
        try:
            self.typed.prompts()
        except UserError as error:
            return str(error)
        return ""

    def begin(self, source: str) -> bool:
        """Edit another set: a bundled name, a file or JSON. Return True if the set differs.

        Raises UserError if it cannot be read.
        """
        prompts = read_prompts(source)
        self.base = self.base if is_inline(source) else source
        if not self.problem and self.typed.prompts() == prompts:
            return False  # keep blank lines and spacing as typed
        return self.put(TypedPrompts.of(prompts))

    def put(self, typed: TypedPrompts) -> bool:
        """Replace the text; returns whether it changed."""
        if typed == self.typed:
            return False
        self.undo_stack = [*self.undo_stack, self.typed][-MAX_UNDO:]
        self.redo_stack.clear()
        self.typed = typed
        return True

    def put_templates(self, text: str) -> bool:
        """Replace the templates; returns whether they changed."""
        return self.put(replace(self.typed, templates=text))

    def put_names(self, label: str, text: str) -> bool:
        """Set the names of a class (empty: its label); returns whether they changed."""
        names = {
            other_label: class_names for other_label, class_names in self.typed.names.items() if other_label != label
        }
        if text.strip() and split_names(text) != (label,):
            names[label] = text
        return self.put(replace(self.typed, names=names))

    def reset(self) -> bool:
        """Restore the base set; can be undone."""
        return self.put(TypedPrompts.of(_read(self.base)))

    def undo(self) -> bool:
        """Undo the last change; False if nothing can be undone."""
        if not self.undo_stack:
            return False
        self.redo_stack.append(self.typed)
        self.typed = self.undo_stack.pop()
        return True

    def redo(self) -> bool:
        """Redo the last undone change; False if nothing can be redone."""
        if not self.redo_stack:
            return False
        self.undo_stack.append(self.typed)
        self.typed = self.redo_stack.pop()
        return True


def split_names(text: str) -> tuple[str, ...]:
    """Split a line of comma-separated names; a name in double quotes may contain commas."""
    (names,) = csv.reader([" ".join(text.split()) or ","], skipinitialspace=True)
    return tuple(dict.fromkeys(clean for name in names if (clean := name.strip())))


def join_names(names: Sequence[str]) -> str:
    """The text from which ``split_names`` returns ``names``."""
    doubled = (name.replace('"', '""') for name in names)
    return ", ".join(f'"{name}"' if "," in name or '"' in name else name for name in doubled)


def _read(source: str) -> PromptSet:
    try:
        return read_prompts(source)
    except UserError:  # the file no longer exists
        return read_prompts(DEFAULT_TEMPLATES)
