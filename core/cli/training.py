"""The commands ``presets``, ``train``, ``demo-data``, ``worker`` and ``bench``."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from core.cli.homes import add_home
from core.cli.terminal import Subparsers, folder_path, periodic_progress, say
from core.spec.config import RunConfig, override, read_config, with_absolute_paths
from core.spec.errors import UserError
from core.spec.failures import say_error
from core.spec.presets import SIZES, preset_config, preset_names
from core.spec.presets.choosing import choose
from core.spec.run.code import CodeUse
from core.spec.run.folder import RunDir
from core.spec.study.config import NoiseKind

if TYPE_CHECKING:
    from core.ranks.environment import Launch

EXIT_STOPPED = 3  # exit status of a run that was stopped or paused before its end


def add(subparsers: Subparsers) -> None:
    """Add these commands to the parser."""
    presets = subparsers.add_parser("presets", help="list the presets, or print one as JSON")
    presets.add_argument("name", nargs="?", help="preset to print (default: list all)")
    presets.add_argument("--size", default="base", help=f"model size: {', '.join(SIZES)} (default: base)")
    presets.add_argument("--chain", action="store_true", help="print all stages of a multi-stage preset")
    presets.add_argument("--generations", type=int, default=3, help="generations of a born-again chain (default: 3)")
    presets.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a field")
    presets.add_argument("--pairs", type=int, metavar="N", help="recommend a preset for N pairs, with the reason")
    presets.add_argument(
        "--epochs", type=float, default=6.0, help="with --pairs: compute budget in epochs of clip (default: 6)"
    )
    presets.add_argument("--mismatched", action="store_true", help="with --pairs: many captions are mismatched")
    presets.add_argument("--pretrained", action="store_true", help="with --pairs: fine-tune a pretrained model")
    presets.set_defaults(handler=_presets)

    train = subparsers.add_parser("train", help="train a model; repeat to resume from the last checkpoint")
    train.add_argument("config", type=Path, metavar="CONFIG.json")
    train.add_argument("run_dir", type=folder_path, metavar="RUN_DIR")
    train.add_argument("--set", nargs="+", action="extend", default=[], metavar="FIELD=VALUE", help="override fields")
    train.add_argument(
        "--stage-logs", action="store_true", help="write the output of each stage of a chain to its folder"
    )
    train.add_argument(
        "--code",
        default="check",
        choices=get_args(CodeUse),
        help="if custom code has changed since the run began: check = stop with an error; kept = use the run folder's "
        "copy; changed = use the changed file (default: check)",
    )
    train.set_defaults(handler=_train)

    demo = subparsers.add_parser("demo-data", help="render the OpenMoji pictograms with captions as demo data")
    demo.add_argument("folder", type=folder_path, metavar="DIR")
    demo.add_argument(
        "--mismatched",
        type=float,
        metavar="SHARE",
        help="also write noisy.csv: train.csv with this share of mismatched captions",
    )
    demo.add_argument(
        "--mismatch-kind",
        default="shuffled",
        choices=get_args(NoiseKind),
        help="shuffled = caption of another row; in-group = of a row in the same group; word = one word replaced; "
        "generic = a caption that fits any image (default: shuffled)",
    )
    demo.set_defaults(handler=_demo_data)

    worker = subparsers.add_parser("worker", help="serve the window: JSON requests on stdin, replies on stdout")
    worker.add_argument("--on", default="", metavar="MACHINE", help="use the worker of this machine, over ssh")
    add_home(worker)
    worker.set_defaults(handler=_worker)

    bench = subparsers.add_parser("bench", help="benchmark against other implementations")
    bench.add_argument("name", choices=("train", "gpu"))
    bench.add_argument("--json", action="store_true", help="print the results as JSON")
    bench.add_argument("--size", default="small", choices=("small", "full"), help="size of gpu (default: small)")
    bench.set_defaults(handler=_bench)


def _presets(arguments: argparse.Namespace) -> int:
    if arguments.pairs is not None:
        if arguments.pairs < 1 or not 0 < arguments.epochs < math.inf:
            raise UserError("--pairs and --epochs must be above 0; specify the data's size and the compute budget.")
        choice = choose(arguments.pairs, arguments.epochs, arguments.mismatched, arguments.pretrained)
        print(f"{choice.preset}: {choice.reason}")
    elif arguments.name is None:
        print("\n".join(preset_names()))
    elif arguments.chain:
        from core.spec.chain import preset_chain

        chain = preset_chain(arguments.name, arguments.size, arguments.generations)
        print(chain.with_settings(arguments.set).to_json(), end="")
    else:
        print(override(preset_config(arguments.name, arguments.size), arguments.set).to_json(), end="")
    return 0


def _train(arguments: argparse.Namespace) -> int:
    from core.ranks.environment import from_environment
    from core.spec.chain import is_chain

    launch = from_environment()
    if is_chain(arguments.config):
        return _train_chain(arguments)
    if launch is not None and launch.size > 1:
        return _train_over_ranks(launch, arguments)
    config = _config(arguments)  # before torch is loaded
    from core.training.memory import keep_freed_memory
    from core.training.train import train

    keep_freed_memory()
    outcome = train(config, RunDir(arguments.run_dir), code_policy=arguments.code)
    say(f"{outcome}: {arguments.run_dir}")
    return 0 if outcome == "done" else EXIT_STOPPED


def _train_chain(arguments: argparse.Namespace) -> int:
    from core.spec.chain import ChainDir, read_chain

    chain = read_chain(arguments.config).with_settings(arguments.set)
    from core.studies.chain.run import run_chain
    from core.training.memory import keep_freed_memory

    keep_freed_memory()
    outcome = run_chain(chain, ChainDir(arguments.run_dir), periodic_progress(), stage_logs=arguments.stage_logs)
    say(f"{outcome}: {arguments.run_dir}")
    return 0 if outcome == "done" else EXIT_STOPPED


def _config(arguments: argparse.Namespace) -> RunConfig:
    return with_absolute_paths(override(read_config(arguments.config), arguments.set))


def _train_over_ranks(launch: Launch, arguments: argparse.Namespace) -> int:
    """Train on this rank; only rank 0 prints. A stopped run exits with 0, so that torchrun reports no failure."""
    from core.training.team.early import check_launch

    check_launch(launch, lambda: _config(arguments), RunDir(arguments.run_dir))
    from core.training.errors import RankLost
    from core.training.memory import keep_freed_memory
    from core.training.over_ranks import train_over_ranks

    keep_freed_memory()
    try:
        outcome = train_over_ranks(
            launch, lambda: _config(arguments), RunDir(arguments.run_dir), code_policy=arguments.code
        )
    except RankLost as error:
        if launch.rank == 0:
            say_error(str(error))
        os._exit(1)  # does not wait for threads that wait for other ranks
    except UserError:
        if launch.rank == 0:
            raise
        return 1
    if launch.rank == 0:
        say(f"{outcome}: {arguments.run_dir}")
    return 0


def _demo_data(arguments: argparse.Namespace) -> int:
    from core.data.demo.openmoji import write_demo_data
    from core.data.derived.noisy import write_noisy

    share, kind = arguments.mismatched, arguments.mismatch_kind
    if share is not None and not 0 < share < 1:
        raise UserError(f"--mismatched is {share:g}; use a share between 0 and 1, such as 0.3.")
    show = periodic_progress()
    counts = write_demo_data(arguments.folder, progress=lambda done, total: show("rendering images", done, total))
    for split, count in counts.items():
        say(f"{split}: {count} pairs")
    if share is not None:
        train, noisy, clean = (arguments.folder / f"{name}.csv" for name in ("train", "noisy", "clean"))
        within = "group" if kind == "in-group" else ""
        rows, mismatched = write_noisy(train, share, 0, noisy, clean, kind, within)
        say(f"noisy: {rows} pairs, {mismatched} of them mismatched ({kind}); clean: the others")
    return 0


def _worker(arguments: argparse.Namespace) -> int:
    if arguments.on:
        from core.remote.relay import relay
        from core.spec.machines.machine_list import MachineList

        return relay(MachineList(arguments.home).find(arguments.on), arguments.home)
    from core.worker.server import serve

    return serve()


def _bench(arguments: argparse.Namespace) -> int:
    from core.bench import gpu, train
    from core.bench.results import print_results

    results = gpu.run(arguments.size) if arguments.name == "gpu" else train.run()
    return print_results(results, arguments.json)
