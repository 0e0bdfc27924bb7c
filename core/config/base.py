"""What every section of a definition is made of: frozen fields that carry what the form shows."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from core.errors import UserError


class ConfigError(UserError):
    """A definition that cannot be used; the message names the field, the value and the remedy."""


class Section(BaseModel):
    """A frozen group of fields; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def shown(unit: str, advanced: bool = False, widget: str = "") -> dict[str, Any]:
    """Extra facts for the form: the unit shown after the value, whether it hides under *More*, the editor."""
    extra: dict[str, Any] = {"unit": unit}
    if advanced:
        extra["advanced"] = True
    if widget:
        extra["widget"] = widget
    return extra


Share = Annotated[float, Field(ge=0.0, le=1.0)]
