"""Prompts: the templates of `core.spec.data.prompt_sets` filled in with class names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.metrics.classification.labels import prompt_name
from core.metrics.inputs import EvaluationError
from core.spec.data.prompt_sets import DEFAULT_TEMPLATES, PromptSet, bundled_templates, read_prompts

__all__ = ["DEFAULT_TEMPLATES", "bundled_templates", "load_prompts", "load_templates", "prompts", "unknown_names"]


def load_prompts(source: str | Path) -> PromptSet:
    """Templates and class names of a bundled set or a file. Raises EvaluationError like `read_prompts`."""
    return read_prompts(source, error=EvaluationError)


def load_templates(source: str | Path) -> tuple[str, ...]:
    """The templates of a bundled set or a file; see `load_prompts`."""
    return load_prompts(source).templates


def prompts(name: str, templates: Sequence[str]) -> list[str]:
    """Each template with ``{}`` replaced by the class ``name``, normalised by `prompt_name`."""
    return [template.replace("{}", prompt_name(name)) for template in templates]


def unknown_names(prompt_set: PromptSet, classes: Sequence[str]) -> tuple[str, ...]:
    """A note if ``prompt_set`` contains classes that are not in ``classes``."""
    unknown = [label for label in prompt_set.names if label not in classes]
    if not unknown:
        return ()
    are = "class that is" if len(unknown) == 1 else "classes that are"
    return (f"the prompts contain {len(unknown)} {are} not in the data, such as {unknown[0]!r}.",)
