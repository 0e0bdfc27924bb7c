"""What is typed as prompts: templates and names of classes, with undo. No Qt.

Flow: the editor writes texts here -> ``source``, the prompts as the worker takes them, or ``problem``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.spec.data.prompt_sets import DEFAULT_TEMPLATES, PromptSet, is_inline, read_prompts
from core.spec.errors import UserError

UNDO = 200  # steps


@dataclass(frozen=True)
class Typed:
    """``templates``: one per line; ``names``: of the classes that are not called by their labels, with commas."""

    templates: str
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, prompts: PromptSet) -> Typed:
        """As it would be typed. A name with a comma in it is quoted."""
        names = {label: join_names(own) for label, own in prompts.names.items()}
        return cls("\n".join(prompts.templates), names)

    def prompts(self) -> PromptSet:
        """What it means; UserError where a template has no place for the class, or there is none."""
        names = {label: split_names(text) for label, text in self.names.items()}
        lines = tuple(line.strip() for line in self.templates.splitlines() if line.strip())
        return read_prompts(PromptSet(lines, {label: own for label, own in names.items() if own}).to_json())


class PromptDraft:
    """``typed`` as it is now; ``base``: the set that ``reset`` goes back to."""

    def __init__(self, base: str = DEFAULT_TEMPLATES) -> None:
        self.base = base
        self.typed = Typed.of(_read(base))
        self._done: list[Typed] = []
        self._undone: list[Typed] = []

    @property
    def source(self) -> str:
        """As the worker takes it. Raises UserError as `Typed.prompts`."""
        return self.typed.prompts().to_json()

    @property
    def problem(self) -> str:
        """What keeps it from being used, in a sentence; "" for nothing."""
        try:
            self.typed.prompts()
        except UserError as error:
            return str(error)
        return ""

    def begin(self, source: str) -> bool:
        """Edit another set: a bundled one's name, a file, or the text of one; whether it is another.

        Raises UserError where it cannot be read.
        """
        prompts = read_prompts(source)
        self.base = self.base if is_inline(source) else source
        if not self.problem and self.typed.prompts() == prompts:
            return False  # blank lines and the like stay as they are typed
        return self.put(Typed.of(prompts))

    def put(self, typed: Typed) -> bool:
        """Take what was typed; whether it is something else."""
        if typed == self.typed:
            return False
        self._done = [*self._done, self.typed][-UNDO:]
        self._undone.clear()
        self.typed = typed
        return True

    def put_templates(self, text: str) -> bool:
        """Other templates."""
        return self.put(replace(self.typed, templates=text))

    def put_names(self, label: str, text: str) -> bool:
        """What a class is called; with nothing, its label."""
        names = {one: own for one, own in self.typed.names.items() if one != label}
        if text.strip() and split_names(text) != (label,):
            names[label] = text
        return self.put(replace(self.typed, names=names))

    def reset(self) -> bool:
        """Back to the set that it began with, which is a change like any other."""
        return self.put(Typed.of(_read(self.base)))

    def undo(self) -> bool:
        """Take the last change back."""
        if not self._done:
            return False
        self._undone.append(self.typed)
        self.typed = self._done.pop()
        return True

    def redo(self) -> bool:
        """Make the change again that was taken back last."""
        if not self._undone:
            return False
        self._done.append(self.typed)
        self.typed = self._undone.pop()
        return True

    @property
    def can_undo(self) -> bool:
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        return bool(self._undone)


def split_names(text: str) -> tuple[str, ...]:
    """Names between commas; commas inside of double quotes are part of a name."""
    names, name, quoted = [], "", False
    for char in text:
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            names.append(name)
            name = ""
        else:
            name += char
    return tuple(dict.fromkeys(clean for one in [*names, name] if (clean := " ".join(one.split()))))


def join_names(names: Sequence[str]) -> str:
    """The text that ``split_names`` reads so; double quotes inside of a name are lost."""
    clean = [name.replace('"', "") for name in names]
    return ", ".join(f'"{name}"' if "," in name else name for name in clean)


def _read(source: str) -> PromptSet:
    try:
        return read_prompts(source)
    except UserError:  # the file is gone
        return read_prompts(DEFAULT_TEMPLATES)
