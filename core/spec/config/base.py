"""The base of every section of a config: frozen fields with metadata for the form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from core.spec.errors import UserError

MAX_TEXT_LENGTH = 10_000  # characters


class ConfigError(UserError):
    """An invalid config; the message names the field, the value and the remedy."""


def _sane_text(value: Any) -> Any:
    """Refuse null characters, invalid UTF-8 and very long text."""
    if isinstance(value, str) and len(value) > MAX_TEXT_LENGTH:
        raise ValueError(f"it has {len(value)} characters, at most {MAX_TEXT_LENGTH} are allowed")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("it contains a null character")
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("it contains bytes that are not valid UTF-8; rename the file")
    return value


Text = Annotated[str, BeforeValidator(_sane_text)]  # text in a config: a name, a path, a label


class Section(BaseModel):
    """A frozen group of fields; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, defer_build=True)


def form_metadata(unit: str, advanced: bool = False, widget: str = "", choices: Iterable[str] = ()) -> dict[str, Any]:
    """Metadata for the form: the unit shown after the value, whether the field is shown under *More*, the editor, and
    suggested values for a text field.
    """
    extra: dict[str, Any] = {"unit": unit}
    if choices:
        extra["choices"] = list(choices)
    if advanced:
        extra["advanced"] = True
    if widget:
        extra["widget"] = widget
    return extra


def setting(
    default: Any, title: str, description: str, *, unit: str = "", advanced: bool = False, widget: str = "",
    choices: Iterable[str] = (), **limits: Any,
) -> Any:  # fmt: skip
    """A field with its default, title, description and metadata for the form; ``limits``: such as pydantic's ``ge``."""
    extra = form_metadata(unit, advanced, widget, choices)
    return Field(default, title=title, description=description, json_schema_extra=extra, **limits)


Share = Annotated[float, Field(ge=0.0, le=1.0)]
