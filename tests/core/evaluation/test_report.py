"""Reports: the table, our JSON there and back, comparisons."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.checkpoint.opening import Subject
from core.evaluation.report import (
    Report,
    comparison_json,
    comparison_table,
    format_metric,
    read_report,
    table,
    to_json,
)
from core.metrics.captions.scores import caption_scores
from core.metrics.classification.accuracy import classify
from core.metrics.classification.labels import index_labels
from core.metrics.inputs import EvaluationError
from core.metrics.outcome import Outcome
from core.metrics.retrieval import ranks, retrieval_metrics, retrieval_outcome
from core.metrics.statistics import compare

SUBJECT = Subject(model="run 7", dataset="openmoji", weights="teacher")


def retrieval(noise: float) -> Outcome:
    generator = torch.Generator().manual_seed(0)
    owner = torch.arange(60) // 2
    images = torch.randn(30, 8, generator=generator)
    texts = images[owner] + noise * torch.randn(60, 8, generator=generator)
    return retrieval_outcome(*ranks(images, texts, owner), owner)


def classification(count: int = 6) -> Outcome:
    names = [f"class {i}" for i in range(count)]
    labels = index_labels([names[i % count] for i in range(40)] + [None], names)
    scores = torch.randn(40, count, generator=torch.Generator().manual_seed(1))
    return classify(labels, [scores]).outcome("zero-shot")


def test_the_table_is_readable() -> None:
    text = table(Report(SUBJECT, classification()))
    assert text.startswith("zero-shot of run 7 (teacher) on openmoji, 40 samples, fp32\n  acc1 ")
    assert " % to " not in text.splitlines()[0]
    assert "note: 1 of 41 rows have no label and were skipped." in text
    assert "mean_per_class_recall" in text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("acc1", 0.4567, "45.7 %"),
        ("image_to_text_mean_rank", 12.345, "12.3"),
        ("text_to_image_median_rank", 4321.0, "4321"),
        ("CIDEr", 1.2345, "1.23"),
        ("acc5", math.nan, "-"),
    ],
)
def test_values_are_formatted_for_people(name: str, value: float, text: str) -> None:
    assert format_metric(name, value) == text


@pytest.mark.parametrize("outcome", [retrieval(1.0), classification(), caption_scores(["a"], [["a"]]).outcome()])
def test_json_round_trips(outcome: Outcome, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    content = to_json(Report(SUBJECT, outcome), queries=True)
    file.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    again = read_report(file)
    assert again.subject == SUBJECT
    assert again.outcome.metrics == pytest.approx(dict(outcome.metrics))
    assert again.outcome.notes == outcome.notes
    assert again.outcome.per_query.keys() == outcome.per_query.keys()
    for name, one in outcome.per_query.items():
        np.testing.assert_array_equal(again.outcome.per_query[name].values, one.values)
        ends = content["intervals"][name]
        assert ends["low"] <= outcome.metrics[name] <= ends["high"]
    assert "per_query" not in to_json(Report(SUBJECT, outcome))


def test_intervals_of_other_tools_round_trip(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    given = replace(classification(), metrics={"acc1": 0.5}, intervals={"acc1": (0.4, 0.6)}, per_query={})
    file.write_text(json.dumps(to_json(Report(SUBJECT, given))), encoding="utf-8")
    assert read_report(file).outcome.intervals == {"acc1": (0.4, 0.6)}
    content = to_json(Report(SUBJECT, given))
    for unknown in ({"low": None}, {"high": None}):
        file.write_text(json.dumps(content | {"intervals": {"acc1": {"low": 0.4, "high": 0.6} | unknown}}))
        again = read_report(file)
        assert again.outcome.intervals == {}
        assert "50.0 %" in table(again)


def test_other_files_raise_a_user_error(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    with pytest.raises(EvaluationError, match="cannot read the report"):
        read_report(file)
    for text in ("{}", "[]", "no json", '{"v": 1, "task": "knn", "subject": {"colour": 1}, "metrics": {}}'):
        file.write_text(text)
        with pytest.raises(EvaluationError, match=r"not an evaluation report|not JSON"):
            read_report(file)
    file.write_text('{"v": 99, "task": "knn"}')
    with pytest.raises(EvaluationError, match="later version"):
        read_report(file)


def test_the_retrieval_outcome_agrees_with_the_metrics_and_groups_captions() -> None:
    outcome = retrieval(1.5)
    owner = torch.arange(60) // 2
    images = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    assert retrieval_metrics(images, images[owner], owner).keys() == outcome.metrics.keys()
    for name, one in outcome.per_query.items():
        assert one.values.mean() == pytest.approx(outcome.metrics[name])
        assert (one.groups is not None) == name.startswith("text_to_image")
    assert outcome.notes == ()
    same = torch.ones(30, 8)
    tied = retrieval_outcome(*ranks(same, torch.ones(60, 8), owner), owner)
    assert tied.notes == ("90 of 90 queries tie with wrong candidates; ties count at their expected rank.",)


def test_the_comparison_names_the_better_model() -> None:
    differences = compare(retrieval(0.8), retrieval(2.5))
    other = Subject(model="run 8", dataset="openmoji", weights="teacher")
    text = comparison_table(SUBJECT, other, differences)
    line = next(line for line in text.splitlines() if "text_to_image_R@1 " in line)
    assert "+" in line
    assert line.endswith("*")
    better, worse = (int(found) for found in re.findall(r"A better on (\d+), B on (\d+), equal on \d+", line)[0])
    assert better > worse, "A is the one with less noise"
    content = comparison_json(SUBJECT, other, differences)
    assert content["differences"]["text_to_image_R@1"]["interval"]["low"] > 0
    json.dumps(content, allow_nan=False)
