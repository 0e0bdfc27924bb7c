"""The verbs, for people and scripts without a window: ``python -m core VERB ...``.

Results go to stdout, progress and errors to stderr; the exit status is 0 only on success. Each verb imports what it
needs when it runs, so that ``presets`` answers without loading torch.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from core.config import override, read_config, with_absolute_paths
from core.errors import UserError
from core.presets import SIZES, preset_config, preset_names
from core.rundir import RunDir

STOPPED = 3  # exit status of a run that was stopped or paused before its end


def _presets(arguments: argparse.Namespace) -> int:
    if arguments.name is None:
        print("\n".join(preset_names()))
    else:
        print(override(preset_config(arguments.name, arguments.size), arguments.set).to_json(), end="")
    return 0


def _train(arguments: argparse.Namespace) -> int:
    from core.train import train

    config = with_absolute_paths(override(read_config(arguments.config), arguments.set))
    outcome = train(config, RunDir(arguments.run_dir))
    print(f"{outcome}: {arguments.run_dir}", file=sys.stderr)
    return 0 if outcome == "done" else STOPPED


def _demo_data(arguments: argparse.Namespace) -> int:
    from core.data.openmoji import write_demo_data

    counts = write_demo_data(arguments.folder, progress=_every(100))
    for split, count in counts.items():
        print(f"{split}: {count} pairs", file=sys.stderr)
    return 0


def _every(step: int) -> Callable[[int, int], None]:
    """Progress as lines on stderr: every ``step`` done, and the last."""

    def show(done: int, total: int) -> None:
        if done % step == 0 or done == total:
            print(f"{done}/{total} pictures", file=sys.stderr, flush=True)

    return show


def _worker(arguments: argparse.Namespace) -> int:
    from core.worker import serve

    return serve()


def _bench(arguments: argparse.Namespace) -> int:
    from core.bench import run

    return run(arguments.name, arguments.json, arguments.peer)


def _evaluate(arguments: argparse.Namespace) -> int:
    from core.evaluate import Request, evaluate, open_model
    from core.evaluators.report import clip_benchmark_json, table, to_json

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
    )
    show = _now_and_then()
    show("loading the model", 0, 0)
    report = evaluate(open_model(arguments.model, arguments.weights), request, show, _say)
    if arguments.json:
        print(json.dumps(to_json(report, queries=True)))
    elif arguments.clip_benchmark:
        print(json.dumps(clip_benchmark_json(report)))
    else:
        print(table(report))
    return 0


def _compare(first: Path, second: Path, as_json: bool) -> int:
    from core.evaluate import compare_reports
    from core.evaluators.report import comparison_json, comparison_table, read_report

    a, b = read_report(first), read_report(second)
    found = compare_reports(a, b)
    if as_json:
        print(json.dumps(comparison_json(a.subject, b.subject, found)))
    else:
        print(comparison_table(a.subject, b.subject, found))
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _now_and_then(seconds: float = 5.0) -> Callable[[str, int, int], None]:
    """Progress as lines on stderr: what is begun, and each ``seconds`` how far it is."""
    shown, at = "", 0.0

    def show(doing: str, done: int, total: int) -> None:
        nonlocal shown, at
        now = time.monotonic()
        if doing != shown or now - at >= seconds:
            shown, at = doing, now
            _say(f"{doing} {done}/{total}" if total and done else doing)

    return show


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core", description="Train and judge image-language models.")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    presets = verbs.add_parser("presets", help="list the presets, or print one as JSON")
    presets.add_argument("name", nargs="?", help="preset to print")
    presets.add_argument("--size", default="base", help=f"{', '.join(SIZES)} (default: base)")
    presets.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="change a field")
    presets.set_defaults(verb=_presets)

    train = verbs.add_parser("train", help="train a definition; on the same folder again, go on from where it stopped")
    train.add_argument("config", type=Path, metavar="CONFIG.json")
    train.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    train.add_argument("--set", nargs="+", action="extend", default=[], metavar="FIELD=VALUE", help="change fields")
    train.set_defaults(verb=_train)

    demo = verbs.add_parser("demo-data", help="render OpenMoji's pictograms and their captions into a folder")
    demo.add_argument("folder", type=Path, metavar="DIR")
    demo.set_defaults(verb=_demo_data)

    worker = verbs.add_parser("worker", help="answer requests, one line of JSON each, on stdin")
    worker.set_defaults(verb=_worker)

    _add_evaluate(verbs)

    bench = verbs.add_parser("bench", help="measure ours against a peer, alternating")
    bench.add_argument("name", help="train or caption")
    bench.add_argument("--json", action="store_true", help="a list of results on stdout")
    bench.add_argument("--peer", type=Path, metavar="DIR", help="folder with the peer's own packages")
    bench.set_defaults(verb=_bench)
    return parser


def _add_evaluate(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    judge = verbs.add_parser("evaluate", help="measure a model on data, or compare two saved measurements")
    judge.add_argument("model", nargs="?", default="", help="run folder, RUN@STEP, or open_clip:NAME[,PRETRAINED]")
    judge.add_argument("--data", default="", metavar="SOURCE", help="what to measure on")
    judge.add_argument("--task", default="", metavar="TASK", help="zero-shot, linear-probe, knn or retrieval")
    judge.add_argument("--weights", default="", choices=("student", "teacher"), help="default: teacher if there is one")
    judge.add_argument("--label", default="", metavar="NAME", help="label column (default: the only one)")
    judge.add_argument("--train", default="", metavar="SOURCE", help="for linear-probe and knn (default: the run's)")
    judge.add_argument("--templates", default="photo", metavar="NAME_OR_FILE", help="prompts (default: photo)")
    judge.add_argument("--compare", nargs=2, type=Path, metavar=("A.json", "B.json"), help="A minus B, paired")
    form = judge.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the whole report, which --compare reads")
    form.add_argument("--clip-benchmark", action="store_true", help="the keys and names of CLIP_benchmark")
    judge.set_defaults(verb=_evaluate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; a failure that the user can mend is one message on stderr and exit status 1."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.verb(parsed))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
