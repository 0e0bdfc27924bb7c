"""The state of a form of ``RunConfig``: every field's typed text, its base config, and its errors. No Qt.

Flow: ``ConfigForm`` writes texts to the state and reads results; sections show it in rows, created when needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.spec.config import RunConfig
from sdgui.shared.form.fields import FieldGroup, FieldSpec, parse, read, text_of, values_of


class FormState:
    """Texts and errors of the fields of ``groups``; call ``validate`` after every change."""

    def __init__(self, groups: Iterable[FieldGroup]) -> None:
        self.specs: dict[str, FieldSpec] = {spec.path: spec for group in groups for spec in group.all_fields()}
        self.texts: dict[str, str] = {}
        self.base_texts: dict[str, str] = {}
        self.values: dict[str, Any] = {}  # values of all fields; the base's value if a text is invalid
        self.errors: dict[str, str] = {}
        self.changes: dict[str, tuple[Any, Any]] = {}  # valid fields that differ: value of the base, typed value
        self.differing: frozenset[str] = frozenset()  # also fields with invalid text
        self.config: RunConfig | None = None
        self.read_only = False
        self._base: dict[str, Any] = {}
        self._hidden_values: dict[str, Any] = {}  # values of fields that the form does not show
        self._refused: dict[str, tuple[str, str]] = {}  # field -> (refused text, reason)
        self.set_config(RunConfig(), RunConfig())

    def set_config(self, config: RunConfig, base: RunConfig) -> None:
        """Set the config, and the base for differences."""
        values, self._base = values_of(config), values_of(base)
        self._refused = {}
        self._hidden_values = {path: value for path, value in values.items() if path not in self.specs}
        self.texts = {path: text_of(values[path]) for path in self.specs}
        self.base_texts = {path: text_of(self._base[path]) for path in self.specs}
        self.validate()

    def validate(self) -> None:
        """Parse the texts: update the config or the errors, and the differences."""
        self.config, self.errors = read(self.specs, self.texts, self._base | self._hidden_values)
        for path, (text, reason) in self._refused.items():
            if self.texts[path] == text:
                self.errors.setdefault(path, reason)
        self.values = self._base | self._hidden_values
        self.changes, invalid = {}, set()
        for path, spec in self.specs.items():
            if self.texts[path] == self.base_texts[path]:
                continue
            try:
                value = parse(spec, self.texts[path])
            except ValueError:
                invalid.add(path)  # the error is shown at the field
                continue
            self.values[path] = value
            if value != self._base[path]:
                self.changes[path] = (self._base[path], value)
        self.differing = frozenset(self.changes.keys() | invalid)

    def refuse(self, problems: Mapping[str, str]) -> None:
        """Set problems of valid values, such as missing data; they count as errors until the fields are edited."""
        self._refused = {path: (self.texts[path], reason) for path, reason in problems.items() if path in self.texts}
        self.validate()

    def is_off(self, switch: str) -> bool:
        """Whether the number in a group's switch is 0; False for text that is not a number."""
        return switch not in self.errors and not self.values[switch]
