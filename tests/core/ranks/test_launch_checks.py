"""Launches that cannot train are refused before torch is loaded: rank 0 reports and records the reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.ranks.environment import Launch
from core.spec.children import environment
from core.spec.config import RunConfig, override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.events import EventReader, EventWriter, RunFailed, RunFinished
from core.spec.run.folder import RunDir, RunDirError
from core.training.team.early import check_launch

WRONG = {
    "optim.batch_size=11": "a batch of 11 pairs cannot be split evenly over 2 processes",
    "runtime.shard=4": "runtime.shard is 4, which does not divide 2 processes",
    "data.train=nowhere.csv": "There is no data at ",
    "data.val=nowhere.csv": "There is no data at ",
    "data.train=there-{0..1}.tar": "there-1.tar does not exist; copy it again",
    "data.train=there-0.tar::there-0.tar": "occurs twice",
}
FIRST = Launch(0, 2, 0, 2)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """A config that passes the early checks for two processes."""
    monkeypatch.chdir(tmp_path)
    for name in ("train.csv", "there-0.tar"):
        (tmp_path / name).touch()
    return override(preset_config("clip", "tiny"), ["data.train=train.csv", "optim.batch_size=12"])


@pytest.mark.parametrize("setting", WRONG)
def test_rank_0_reports_and_records_the_refusal(setting: str, config: RunConfig) -> None:
    run = RunDir(Path("run"))
    with pytest.raises(UserError, match=WRONG[setting]):
        check_launch(FIRST, lambda: override(config, [setting]), run)
    (event,) = EventReader(run.events).read_all()
    assert isinstance(event, RunFailed)
    assert WRONG[setting] in event.message
    run.claim().release()  # and leaves the folder to whoever starts it again


def test_trainable_configs_pass(config: RunConfig) -> None:
    check_launch(FIRST, lambda: config, RunDir(Path("run")))
    unlabelled = override(
        config, ["data.label=group", "data.unlabelled_ratio=1", "optim.batch_size=11"]
    )  # 22 rows a batch
    check_launch(FIRST, lambda: unlabelled, RunDir(Path("run")))
    assert not Path("run").exists()


@pytest.mark.parametrize("launch", [Launch(1, 2, 1, 2), Launch(0, 2, 0, 1)])
def test_other_ranks_and_several_hosts_synchronise_first(launch: Launch) -> None:
    check_launch(launch, lambda: pytest.fail("it was read"), RunDir(Path("run")))


def test_a_finished_run_needs_no_data(config: RunConfig) -> None:
    run, wrong = RunDir(Path("run")), override(config, ["data.train=nowhere.csv"])
    run.create()
    run.config.write_text(wrong.to_json())
    events = EventWriter(run.events)
    events.write(RunFinished(step=9, outcome="done"))
    events.close()
    check_launch(FIRST, lambda: wrong, run)
    assert len(EventReader(run.events).read_all()) == 1


def test_a_run_in_training_is_not_written_to(config: RunConfig) -> None:
    run = RunDir(Path("run"))
    run.create()
    lock = run.claim()
    with pytest.raises(RunDirError):
        check_launch(FIRST, lambda: override(config, ["runtime.shard=4"]), run)
    lock.release()
    assert not run.events.exists()


def test_the_verb_reports_the_refusal_without_torch(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config.to_json())
    arguments = ["train", "config.json", "run", "--set", "runtime.shard=4"]
    code = f"import sys; from core.__main__ import main; print(main({arguments}), 'torch' in sys.modules)"
    place = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment() | place, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["1", "False"], done.stderr
    assert done.stderr.startswith("error: runtime.shard is 4, which does not divide 2 processes")
