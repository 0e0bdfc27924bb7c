"""Results that come with the built-in studies: of whom, on what, and every number by seed.

Flow: a study is run -> its ``results.json`` is kept as ``resources/studies/results/NAME.json`` -> ``published`` prints
it. Whoever runs the study again with ``--only ARM --seeds N`` gets the same row anew.
"""

from __future__ import annotations

from typing import Any

from core.spec.errors import UserError
from core.spec.reading import excerpt, read_json
from core.spec.resources import resource_folder
from core.spec.study.records import LARGEST_RESULTS, results_problem
from core.studies.study.table import markdown

FOLDER = resource_folder("studies") / "results"


def published(name: str) -> str:
    """The report of the built-in study ``name`` as Markdown; UserError when none comes with it."""
    return markdown(published_results(name))


def published_results(name: str) -> dict[str, Any]:
    """The same as it lies in its file; UserError when there is none, or it is damaged."""
    path = FOLDER / f"{name}.json"
    there = sorted(one.stem for one in FOLDER.glob("*.json"))
    if path.stem not in there:
        raise UserError(f"no results come with the study '{excerpt(name)}'; they come with {', '.join(there)}.")
    raw = read_json(path, LARGEST_RESULTS)
    if problem := results_problem(raw):
        raise UserError(f"the results in {path} cannot be used: {problem}")
    found: dict[str, Any] = raw
    return found
