"""Stores evaluation results so that they survive a restart.

Flow: a new result -> ``store_result`` in the thread of the store's writer; when the panel is first shown,
``stored_results`` -> the list. Entries that do not match the schema (another version's) are skipped.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sdgui.panels.classify.model import Evaluation, EvaluationResult, read_result
from sdgui.panels.classify.verbs import Result
from sdgui.store.store import Store
from sdgui.worker.verbs import Verb

PANEL = "classify"
_EVALUATION = TypeAdapter(Evaluation)
_RESULT = Verb("classify_result", Result)


def store_result(store: Store, result: EvaluationResult) -> None:
    """Store a result, replacing an older result of the same evaluation. Raises StoreError."""
    # "measure" is an older name of an evaluation, kept so that stored results remain readable.
    content = {"measure": asdict(result.evaluation), "answer": result.answer}
    store.save_result(PANEL, _subject(result.evaluation), result.evaluation.target.data, content)


def delete_result(store: Store, evaluation: Evaluation) -> None:
    """Delete the stored result of an evaluation. Raises StoreError."""
    store.delete_result(PANEL, _subject(evaluation), evaluation.target.data)


def stored_results(store: Store) -> list[EvaluationResult]:
    """Read the stored results, newest first. Raises StoreError."""
    results = (_read(entry.content) for entry in store.panel_results(PANEL))
    return [result for result in results if result is not None]


def _subject(evaluation: Evaluation) -> str:
    """The key of an evaluation in the store, in addition to the data."""
    return json.dumps(asdict(evaluation), sort_keys=True)


def _read(content: Any) -> EvaluationResult | None:
    """The result in stored ``content``; None if it is invalid, for example, written by an older version."""
    answer = content.get("answer")
    if not isinstance(answer, dict) or _RESULT.problem(answer):
        return None
    try:
        return read_result(_EVALUATION.validate_python(content.get("measure")), answer)
    except (ValidationError, ValueError, KeyError, TypeError):  # invalid cells
        return None
