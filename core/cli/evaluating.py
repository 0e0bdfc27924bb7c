"""The commands ``evaluate`` (also compares two reports) and ``interpolate`` (initial and fine-tuned weights)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from core.cli.terminal import Subparsers, add_weights, comma_separated, periodic_progress, say
from core.spec.errors import UserError
from core.spec.reading import excerpt
from core.spec.run.model_names import INTERPOLATED, default_prompts, locate
from core.spec.run.weight_path import DEFAULT_KEEP, DEFAULT_STEPS


def add(subparsers: Subparsers) -> None:
    """Add these commands to the parser."""
    _add_interpolate(subparsers)
    parser = subparsers.add_parser("evaluate", help="evaluate a model on a data set, or compare two saved reports")
    parser.add_argument("model", nargs="?", default="", help="run folder, RUN@STEP, or open_clip:NAME[,PRETRAINED]")
    parser.add_argument("--data", default="", metavar="SOURCE", help="data set to evaluate on")
    parser.add_argument(
        "--task",
        default="",
        metavar="TASK",
        help="zero-shot, linear-probe, fused-probe, knn, retrieval, captioning or localisation",
    )
    add_weights(parser)
    parser.add_argument("--label", default="", metavar="NAME", help="label column (default: the only one)")
    parser.add_argument(
        "--train", default="", metavar="SOURCE", help="training data of probes and knn (default: the run's)"
    )
    parser.add_argument(
        "--val", default="", metavar="SOURCE", help="data for choosing a probe's C (default: a fifth of --train)"
    )
    parser.add_argument(
        "--templates", default="", metavar="NAME_OR_FILE", help="prompts for zero-shot (default: depends on the model)"
    )
    parser.add_argument(
        "--layer",
        default="before the projection",
        help="features for probes and knn: 'before the projection' (default), embedding, or the number of a block",
    )
    parser.add_argument("--k", type=int, default=20, help="number of neighbours for knn (default: 20)")
    parser.add_argument(
        "--shots",
        type=comma_separated,
        default=[],
        metavar="1,2,4",
        help="few-shot probes: numbers of training images per class",
    )
    parser.add_argument("--draws", type=int, default=3, help="random subsets per number of shots (default: 3)")
    parser.add_argument(
        "--texts",
        type=comma_separated,
        default=[],
        metavar="A,B",
        help="text inputs of fused-probe: predicted, classes, caption (default: predicted, and caption if possible)",
    )
    parser.add_argument(
        "--rerank", type=int, default=0, metavar="N", help="re-rank the first N results with the matching head"
    )
    parser.add_argument(
        "--cluster",
        default="",
        metavar="NAME",
        help="intervals resample all images with the same label in this column together, such as photos of one person",
    )
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A.json", "B.json"), help="show the paired difference A - B"
    )
    parser.add_argument("--json", action="store_true", help="print the full report as JSON, the input for --compare")
    parser.set_defaults(handler=_evaluate)


def _add_interpolate(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "interpolate", help="evaluate weights between the initial and the fine-tuned weights; choose the best"
    )
    parser.add_argument("run", help="fine-tuned run folder, or RUN@STEP")
    parser.add_argument("--gain", default="", metavar="SOURCE", help="new data (default: the run's validation data)")
    parser.add_argument(
        "--retain",
        default="",
        metavar="SOURCES",
        help="data to retain, in the format of data.retain (default: the run's)",
    )
    parser.add_argument(
        "--keep",
        type=float,
        default=DEFAULT_KEEP,
        metavar="SHARE",
        help=f"minimum share of recall to retain (default: {DEFAULT_KEEP})",
    )
    parser.add_argument(
        "--steps", type=int, default=DEFAULT_STEPS, help=f"number of steps on the path (default: {DEFAULT_STEPS})"
    )
    add_weights(parser)
    parser.add_argument("--json", action="store_true", help="print all points as JSON")
    parser.set_defaults(handler=_interpolate)


def _evaluate(arguments: argparse.Namespace) -> int:
    if arguments.compare:
        return _compare(arguments.compare, arguments.json)
    if not (arguments.model and arguments.data and arguments.task):
        raise UserError(
            "specify a MODEL, --data SOURCE and --task TASK, or compare two saved reports with --compare A.json B.json."
        )
    locate(arguments.model, arguments.weights)  # before torch is loaded
    from core.checkpoint.opening import open_model
    from core.evaluation.evaluate import Request, evaluate
    from core.evaluation.report import table, to_json

    request = Request(
        data=arguments.data,
        task=arguments.task,
        label=arguments.label,
        train=arguments.train,
        templates=arguments.templates or default_prompts(arguments.model),
        val=arguments.val,
        layer=arguments.layer,
        k=arguments.k,
        shots=_numbers(arguments.shots),
        draws=arguments.draws,
        texts=tuple(arguments.texts),
        rerank=arguments.rerank,
        cluster=arguments.cluster,
    )
    show = periodic_progress()
    show("loading the model", 0, 0)
    report = evaluate(open_model(arguments.model, arguments.weights), request, show, say)
    if arguments.json:
        print(json.dumps(to_json(report, queries=True)))
    else:
        print(table(report))
    return 0


def _numbers(shots: list[str]) -> tuple[int, ...]:
    invalid = next((part for part in shots if not part.isdecimal() or len(part) > 9), None)
    if invalid is not None:
        raise UserError(f"--shots: {excerpt(invalid)!r} is not a number of images; use numbers such as 1,2,4.")
    return tuple(map(int, shots))


def _compare(reports: Sequence[Path], as_json: bool) -> int:
    from core.evaluation.evaluate import compare_reports
    from core.evaluation.report import comparison_json, comparison_table, read_report

    a, b = map(read_report, reports)
    comparison = compare_reports(a, b)
    if as_json:
        print(json.dumps(comparison_json(a.subject, b.subject, comparison)))
    else:
        print(comparison_table(a.subject, b.subject, comparison))
    return 0


def _interpolate(arguments: argparse.Namespace) -> int:
    locate(arguments.run, arguments.weights)  # before torch is loaded
    from core.evaluation.interpolation import evaluate_run, table

    path = evaluate_run(
        arguments.run,
        periodic_progress(),
        say,
        weights=arguments.weights,
        gain=arguments.gain,
        retain=arguments.retain,
        keep=arguments.keep,
        steps=arguments.steps,
    )
    if arguments.json:
        print(json.dumps([asdict(point) for point in path.points]))
    else:
        print(table(path))
        print(f"{INTERPOLATED}{arguments.run}@{path.alpha:g}")
    return 0
