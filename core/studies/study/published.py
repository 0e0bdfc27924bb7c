"""Reads the published results of the built-in studies, with every value by seed.

Flow: a study is run -> its ``results.json`` is committed as ``resources/studies/results/NAME.json`` ->
``study NAME --published`` prints it. Running the study with ``--only ARM --seeds N`` reproduces a row.
"""

from __future__ import annotations

from typing import Any

from core.spec.errors import UserError
from core.spec.reading import read_json
from core.spec.resources import resource_folder
from core.spec.study.records import MAX_RESULTS_BYTES, results_problem

FOLDER = resource_folder("studies") / "results"


def published_results(name: str) -> dict[str, Any]:
    """The results of the built-in study ``name`` as plain data. Raises UserError if they are missing or damaged."""
    path = FOLDER / f"{name}.json"
    available = sorted(file.stem for file in FOLDER.glob("*.json"))
    if name not in available:
        raise UserError(f"the study '{name}' has no published results; available: {', '.join(available)}.")
    raw = read_json(path, MAX_RESULTS_BYTES)
    if problem := results_problem(raw):
        raise UserError(f"the results in {path} cannot be used: {problem}")
    results: dict[str, Any] = raw
    return results
