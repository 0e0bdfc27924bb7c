"""Run or resume the study: ``python -m tests.benchmarks.adapting OUT --data DATA``. It can be killed at any moment.

``DATA`` has the manifests of packaging/icon_sets.py, and the demo data in ``demo/``. ``OUT`` gets base models and one
JSON file per cell; ``OUT/results``, rewritten after each cell, has the files that are published.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from core.checkpoint.opening import open_network
from core.model.runtime import set_up
from core.spec.config import RuntimeConfig
from core.spec.files import write_whole
from core.spec.resources import resource_folder
from core.spec.run.folder import RunDir
from core.spec.run.model_names import locate
from core.studies.study.job import run_reporting_errors
from core.training.memory import keep_freed_memory
from tests.benchmarks.adapting.cell import CPU, Evaluation, run_cell, train_base
from tests.benchmarks.adapting.config import AdaptStudy, Arm, ArtistSets, Condition, read_adapt_study
from tests.benchmarks.adapting.data import held_out_pairs, read_rows, training_pairs
from tests.benchmarks.adapting.results import Cell, is_tuned, markdown, round_numbers, select_arms, summary

CONFIG = resource_folder("studies") / "adapting" / "adapt-time.json"
TUNING = "tuning"

CellsByArm = dict[str, dict[Cell, Any]]


class Runner:
    """Trains missing cells one by one: tuning first, then each condition with the selected arms."""

    def __init__(self, study: AdaptStudy, data: Path, out: Path) -> None:
        self.study, self.data, self.out = study, data, out
        self._runtime = set_up(RuntimeConfig(device="cpu", threads=1))
        self._evaluations: dict[ArtistSets, Evaluation] = {}

    def run(self) -> None:
        """Train and evaluate every cell of the config; all arms of a seed before the next seed."""
        study = self.study
        for arm in study.arms:
            if is_tuned(study, arm):
                self._run_cell(TUNING, study.tuning_sets, study.tuning_condition, arm, study.tuning_seed, 0)
        selected = set(select_arms(study, self.cells(TUNING)).values())
        arms = [arm for arm in study.arms if arm.name in selected]
        for condition in study.conditions:
            for seed, draw, arm in product(study.seeds, range(condition.draws), arms):
                if not condition.families or arm.family in condition.families:
                    self._run_cell(condition.name, study.report_sets, condition, arm, seed, draw)

    def cells(self, condition: str) -> CellsByArm:
        """The finished cells of a condition: arm -> (seed, draw) -> result."""
        cells: CellsByArm = defaultdict(dict)
        for path in sorted((self.out / "cells" / condition).glob("*.json")):
            arm, seed, draw = path.stem.rsplit("_", 2)
            cells[arm][int(seed), int(draw)] = json.loads(path.read_text(encoding="utf-8"))
        return cells

    def write(self) -> None:
        """Write the results of the finished cells."""
        cells = {name: self.cells(name) for name in (TUNING, *(condition.name for condition in self.study.conditions))}
        report = {name: by_arm for name, by_arm in cells.items() if by_arm and name != TUNING}
        results = summary(self.study, cells[TUNING], report)
        folder = self.out / "results"
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "results.json", (json.dumps(round_numbers(results)) + "\n").encode())
        write_whole(folder / "results.md", markdown(results).encode())
        for name, by_arm in cells.items():
            plain = {
                arm: {f"{seed} {draw}": cell for (seed, draw), cell in arm_cells.items()}
                for arm, arm_cells in by_arm.items()
            }
            write_whole(folder / f"cells-{name}.json", (json.dumps(plain) + "\n").encode())

    def _run_cell(self, name: str, sets: ArtistSets, condition: Condition, arm: Arm, seed: int, draw: int) -> None:
        """Train and evaluate one cell of the condition ``name``, unless it is finished."""
        path = self.out / "cells" / name / f"{arm.name}_{seed}_{draw}.json"
        if path.exists():
            return
        base_seed = seed if self.study.base_seed is None else self.study.base_seed
        base = RunDir(self.out / "bases" / f"base-{base_seed}")
        train_base(self.study, self.data, base, base_seed)
        number = 1000 * seed + draw  # seeds the data and the training of this cell
        replay = (self.study.base_data, arm.replay)
        pairs = training_pairs(
            self.data,
            sets.gain,
            self.study.held_out,
            condition.pairs,
            condition.mismatched,
            number,
            replay,
            condition.kind,
        )
        evaluation = self._evaluation(sets, base)
        folder = self.out / "runs" / f"{name}-{path.stem}"
        steps = round(arm.step_share * condition.steps)
        cell = run_cell(self.study, arm, base, pairs, steps, number, evaluation, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (json.dumps(cell) + "\n").encode())
        self.write()
        print(f"{name} {path.stem}", flush=True)

    def _evaluation(self, sets: ArtistSets, base: RunDir) -> Evaluation:
        """The evaluation on ``sets``, opened at the first call; ``base``: any base model, for its architecture."""
        if sets not in self._evaluations:
            count = self.study.held_out
            paths = {purpose: held_out_pairs(self.data, getattr(sets, purpose), count) for purpose in ("gain", "third")}
            paths["retain"] = self.data / sets.retain
            network = open_network(locate(f"{base.path}@last"), CPU)
            self._evaluations[sets] = Evaluation(paths, network, self._runtime, self._probes(sets, paths["gain"]))
        return self._evaluations[sets]

    def _probes(self, sets: ArtistSets, held_out: Path) -> dict[str, tuple[Path, Path]]:
        """Training and test images of the probes: new images (the held-out ones are for testing), and old images."""
        if not sets.probe_train:
            return {}
        count = len(read_rows(self.data / sets.gain)) - self.study.held_out
        new = training_pairs(self.data, sets.gain, self.study.held_out, count, 0.0, 0)
        return {"gain": (new, held_out), "retain": (self.data / sets.probe_train, self.data / sets.probe_test)}


def main() -> int:
    """Run or resume the study."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.adapting", description="Run the study adapt-time."
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the study")
    parser.add_argument("--data", type=Path, required=True, help="folder of packaging/icon_sets.py, with demo/ in it")
    parser.add_argument("--study", type=Path, default=CONFIG, help="config (default: adapt-time)")
    parser.add_argument("--results", action="store_true", help="only write the results of finished cells")
    return run_reporting_errors(partial(_run, parser.parse_args()))


def _run(arguments: argparse.Namespace) -> int:
    runner = Runner(read_adapt_study(arguments.study), arguments.data.absolute(), arguments.out.absolute())
    if not arguments.results:
        keep_freed_memory()
        runner.run()
    runner.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
