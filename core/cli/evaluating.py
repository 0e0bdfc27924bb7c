"""The verb ``evaluate``: measure a model on data, or compare two saved measurements."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from core.cli.terminal import Verbs, now_and_then, say
from core.spec.errors import UserError


def add(verbs: Verbs) -> None:
    """Add this verb to the parser."""
    judge = verbs.add_parser("evaluate", help="measure a model on data, or compare two saved measurements")
    judge.add_argument("model", nargs="?", default="", help="run folder, RUN@STEP, or open_clip:NAME[,PRETRAINED]")
    judge.add_argument("--data", default="", metavar="SOURCE", help="what to measure on")
    judge.add_argument(
        "--task", default="", metavar="TASK", help="zero-shot, linear-probe, fused-probe, knn, retrieval or captioning"
    )
    judge.add_argument("--weights", default="", choices=("student", "teacher"), help="default: the better validated")
    judge.add_argument("--label", default="", metavar="NAME", help="label column (default: the only one)")
    judge.add_argument("--train", default="", metavar="SOURCE", help="for probes and knn (default: the run's)")
    judge.add_argument("--val", default="", metavar="SOURCE", help="for probes: C is chosen on it (default: a fifth)")
    judge.add_argument("--templates", default="photo", metavar="NAME_OR_FILE", help="prompts (default: photo)")
    judge.add_argument(
        "--layer", default="before the projection", help="for probes and knn: this, embedding, or a block's number"
    )
    judge.add_argument("--k", type=int, default=20, help="for knn: neighbours (default: 20)")
    judge.add_argument("--shots", default="", metavar="1,2,4", help="for probes: so many pictures a class instead")
    judge.add_argument("--draws", type=int, default=3, help="for --shots: random draws of each (default: 3)")
    judge.add_argument(
        "--texts",
        default="",
        metavar="A,B",
        help="for fused-probe: predicted, classes, caption (default: the cheap ones)",
    )
    judge.add_argument("--rerank", type=int, default=0, metavar="N", help="for retrieval: a matching head looks at N")
    judge.add_argument("--compare", nargs=2, type=Path, metavar=("A.json", "B.json"), help="A minus B, paired")
    form = judge.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the whole report, which --compare reads")
    form.add_argument("--clip-benchmark", action="store_true", help="the keys and names of CLIP_benchmark")
    judge.set_defaults(verb=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    from core.checkpoint.opening import open_model
    from core.evaluation.evaluate import Request, evaluate
    from core.evaluation.report import clip_benchmark_json, table, to_json

    if arguments.compare:
        first, second = arguments.compare
        return _compare(first, second, arguments.json)
    if not (arguments.model and arguments.data and arguments.task):
        raise UserError("name a MODEL, --data SOURCE and --task TASK, or two saved reports: --compare A.json B.json.")
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
        raise UserError(f"--shots {text}: {wrong[0]!r} is no number of pictures; write numbers such as 1,2,4.")
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
