"""The commands ``study`` (compare arms over seeds) and ``noise`` (rank pairs by match score)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.homes import add_home
from core.cli.terminal import Subparsers, add_weights, comma_separated, folder_path, one_line, periodic_progress, say
from core.spec.caption_files import CaptionFileExistsError, write_new
from core.spec.errors import UserError
from core.spec.paths import is_folder
from core.spec.reading import MEGABYTE, read_text
from core.spec.resources import resource_folder
from core.spec.run.model_names import locate

if TYPE_CHECKING:
    from core.evaluation.noise import Ranking
    from core.spec.study import StudyDir, StudyStatus

MAX_SHOWN = 20  # pairs that are printed
BUILT_IN = resource_folder("studies")  # folder of the built-in studies


def add(subparsers: Subparsers) -> None:
    """Add these commands to the parser."""
    study = subparsers.add_parser(
        "study", help="train and compare several configurations (arms) over seeds; repeat to resume"
    )
    study.add_argument(
        "study",
        type=Path,
        metavar="STUDY.json",
        help="study file, or a built-in study: clean, noisy (at equal steps), clean-time, noisy-time (at equal "
        "compute, with controls and rivals), noisy-draws (noise resampled for each seed)",
    )
    study.add_argument("out", type=folder_path, metavar="OUT", nargs="?", help="folder of the study")
    study.add_argument(
        "--published", action="store_true", help="print the published results of a built-in study, without training"
    )
    study.add_argument("--jobs", type=int, default=1, help="parallel runs (default: 1, needed for fair timing)")
    study.add_argument(
        "--devices",
        type=comma_separated,
        default=[],
        metavar="0,1,...",
        help="GPUs by index or UUID, one per parallel run, instead of --jobs",
    )
    study.add_argument(
        "--openclipart",
        type=Path,
        metavar="DIR",
        help="images for the study clean, in category folders (default: Debian's openclipart-png)",
    )
    study.add_argument(
        "--only", nargs="+", default=[], metavar="ARM", help="train only these arms now (clip, or clip-230s)"
    )
    study.add_argument("--seeds", nargs="+", type=int, default=[], metavar="N", help="train only these seeds now")
    study.add_argument(
        "--on",
        nargs="+",
        default=[],
        metavar="MACHINE",
        help="train on these machines of `machines list`, each run on the first free device: names, here (this "
        "computer) or any (all machines); default: the same as before, at first here",
    )
    add_home(study)
    study.add_argument("--results", action="store_true", help="only write the results of finished runs")
    study.set_defaults(handler=_study)
    _add_noise(subparsers)


def _add_noise(subparsers: Subparsers) -> None:
    noise = subparsers.add_parser(
        "noise", help="rank the pairs of a data set by match score, and show likely mismatched pairs"
    )
    noise.add_argument("model", help="run folder, RUN@STEP, or open_clip:NAME[,PRETRAINED]")
    noise.add_argument("--data", default="", metavar="SOURCE", help="pairs to rank (default: the run's training data)")
    add_weights(noise, default="the mean of both networks")
    noise.add_argument("--json", action="store_true", help="print the summary and all pairs as one JSON object")
    noise.add_argument("--csv", type=Path, metavar="OUT", help="write all pairs as CSV, lowest match score first")
    noise.add_argument("--force", action="store_true", help="overwrite the file of --csv")
    noise.set_defaults(handler=_noise)


def _study(arguments: argparse.Namespace) -> int:
    from core.spec.study import StudyDir, read_study
    from core.studies.study.published import published_results
    from core.studies.study.queue import explaining_write_errors, run_study
    from core.studies.study.results import write_results
    from core.studies.study.selection import RunSelection
    from core.studies.study.table import markdown

    path: Path = arguments.study
    built_in = BUILT_IN / f"{path}.json"
    if not path.is_file() and built_in.is_file():
        path = built_in
    if arguments.published:
        print(markdown(published_results(path.stem)), end="")
        return 0
    if arguments.out is None:
        raise UserError("specify a folder OUT for the study, or --published to print its published results.")
    study, out = read_study(path), StudyDir(arguments.out)
    if arguments.results:
        with explaining_write_errors(out):
            write_results(out, read_study(out.study))
        say(f"{out.results}")
        return 0
    selection = RunSelection(tuple(arguments.only), tuple(arguments.seeds))
    status = run_study(
        study, path.parent, out, arguments.jobs, say, arguments.openclipart, arguments.devices, selection, arguments.on,
        arguments.home,
    )  # fmt: skip
    return report_study(out, status)


def report_study(out: StudyDir, status: StudyStatus) -> int:
    """Print the results of a study; returns the exit status, 1 if a run failed."""
    print(read_text(out.table, MEGABYTE, root=out.path), end="")
    failed = [run for run in status.runs if run.state == "failed"]
    for run in failed:
        say(one_line(f"failed: {run.arm}, seed {run.seed}: {run.message}"))
    return 1 if failed else 0


def _verdict(ranking: Ranking) -> str:
    if ranking.groups == 1:
        return "no group of mismatched pairs; those with the lowest match scores follow"
    return f"{ranking.mismatched} likely mismatched"


def _noise(arguments: argparse.Namespace) -> int:
    if arguments.csv and arguments.csv.exists() and not arguments.force:
        raise CaptionFileExistsError(arguments.csv)
    if arguments.csv and not is_folder(arguments.csv.absolute().parent):  # before minutes of ranking
        raise UserError(f"there is no folder {arguments.csv.parent} for {arguments.csv.name}; create it first.")
    locate(arguments.model, arguments.weights)  # before torch is loaded
    from core.evaluation.noise import rank_pairs, to_csv

    ranking = rank_pairs(arguments.model, arguments.data, periodic_progress(), arguments.weights)
    if arguments.csv:
        write_new(arguments.csv, to_csv(ranking.pairs), arguments.force)
    if arguments.json:
        print(json.dumps({**ranking.summary(), "list": [vars(pair) for pair in ranking.pairs]}, ensure_ascii=True))
        return 0
    print(one_line(f"{len(ranking.pairs)} pairs of {ranking.data}, {_verdict(ranking)}"))
    precision = ranking.precision()
    if precision is not None:
        figures = [("recall", ranking.recall()), ("AUC", ranking.auc())]
        extra_figures = "".join(f", {name} {100 * value:.1f} %" for name, value in figures if value is not None)
        print(f"precision at {ranking.shuffled}: {100 * precision:.1f} %{extra_figures}")
    for pair in ranking.pairs[:MAX_SHOWN]:
        mark = "" if pair.shuffled is None else " mismatched" if pair.shuffled else " clean"
        print(one_line(f"{pair.rank:5d}  {pair.match_score:.3f}  {pair.caption}  {pair.path}{mark}"))
    return 0
