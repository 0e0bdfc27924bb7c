"""The verb ``evaluate``: evaluate a model on a data set, or compare two saved reports."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from core.cli.terminal import Verbs, now_and_then, say
from core.spec.errors import UserError


def add(verbs: Verbs) -> None:
    """Add this verb to the parser."""
    parser = verbs.add_parser("evaluate", help="evaluate a model on a data set, or compare two saved reports")
    parser.add_argument("model", nargs="?", default="", help="run folder, RUN@STEP, or open_clip:NAME[,PRETRAINED]")
    parser.add_argument("--data", default="", metavar="SOURCE", help="data set to evaluate on")
    parser.add_argument(
        "--task", default="", metavar="TASK", help="zero-shot, linear-probe, fused-probe, knn, retrieval or captioning"
    )
    parser.add_argument(
        "--weights",
        default="",
        choices=("student", "teacher"),
        help="network to use (default: the better validated one)",
    )
    parser.add_argument("--label", default="", metavar="NAME", help="label column (default: the only one)")
    parser.add_argument(
        "--train", default="", metavar="SOURCE", help="training data of probes and knn (default: the run's)"
    )
    parser.add_argument(
        "--val",
        default="",
        metavar="SOURCE",
        help="data that a probe's C is chosen on (default: a fifth of the training data)",
    )
    parser.add_argument(
        "--templates", default="photo", metavar="NAME_OR_FILE", help="prompt templates of zero-shot (default: photo)"
    )
    parser.add_argument(
        "--layer",
        default="before the projection",
        help="features of probes and knn: 'before the projection' (default), embedding, or a block's number",
    )
    parser.add_argument("--k", type=int, default=20, help="number of neighbours of knn (default: 20)")
    parser.add_argument(
        "--shots", default="", metavar="1,2,4", help="few-shot probes: numbers of training images per class"
    )
    parser.add_argument("--draws", type=int, default=3, help="random subsets per number of shots (default: 3)")
    parser.add_argument(
        "--texts",
        default="",
        metavar="A,B",
        help="text inputs of fused-probe: predicted, classes, caption (default: predicted, and caption if possible)",
    )
    parser.add_argument(
        "--rerank", type=int, default=0, metavar="N", help="re-rank the first N retrieved with the matching head"
    )
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A.json", "B.json"), help="paired difference A - B of two reports"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the full report as JSON, input of --compare")
    form.add_argument("--clip-benchmark", action="store_true", help="JSON with the keys of CLIP_benchmark")
    parser.set_defaults(verb=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    from core.checkpoint.opening import open_model
    from core.evaluation.evaluate import Request, evaluate
    from core.evaluation.report import clip_benchmark_json, table, to_json

    if arguments.compare:
        first, second = arguments.compare
        return _compare(first, second, arguments.json)
    if not (arguments.model and arguments.data and arguments.task):
        raise UserError(
            "give a MODEL, --data SOURCE and --task TASK, or compare two saved reports with --compare A.json B.json."
        )
    request = Request(
        data=arguments.data,
        task=arguments.task,
        label=arguments.label,
        train=arguments.train,
        templates=arguments.templates,
        val=arguments.val,
        layer=arguments.layer,
        k=arguments.k,
        shots=_numbers(arguments.shots),
        draws=arguments.draws,
        texts=tuple(filter(None, map(str.strip, arguments.texts.split(",")))),
        rerank=arguments.rerank,
    )
    show = now_and_then()
    show("loading the model", 0, 0)
    report = evaluate(open_model(arguments.model, arguments.weights), request, show, say)
    if arguments.json:
        print(json.dumps(to_json(report, queries=True)))
    elif arguments.clip_benchmark:
        print(json.dumps(clip_benchmark_json(report)))
    else:
        print(table(report))
    return 0


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    wrong = [part for part in parts if not part.isdecimal()]
    if wrong:
        raise UserError(f"--shots {text}: {wrong[0]!r} is not a number of images; write numbers such as 1,2,4.")
    return tuple(int(part) for part in parts)


def _compare(first: Path, second: Path, as_json: bool) -> int:
    from core.evaluation.evaluate import compare_reports
    from core.evaluation.report import comparison_json, comparison_table, read_report

    a, b = read_report(first), read_report(second)
    found = compare_reports(a, b)
    if as_json:
        print(json.dumps(comparison_json(a.subject, b.subject, found)))
    else:
        print(comparison_table(a.subject, b.subject, found))
    return 0
