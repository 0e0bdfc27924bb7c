"""Ranks from environment variables, connecting them, and the choice of devices; all ranks report the same error."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch

from core.ranks.environment import Launch, LaunchError, from_environment
from core.ranks.launch import device_of, join_ranks
from core.spec.config import override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.events import EventReader, RunFailed
from core.spec.run.folder import RunDir
from core.training.over_ranks import train_over_ranks
from core.training.team.team import Team
from tests.core.ranks.forked import over_ranks

SECOND = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"WORLD_SIZE": "2"}, None),
        (SECOND, Launch(1, 4, 1, 2)),
        (SECOND | {"TORCHELASTIC_RESTART_COUNT": "3"}, Launch(1, 4, 1, 2, "3")),
        ({"RANK": "1", "WORLD_SIZE": "4"}, Launch(1, 4, 1, 4)),  # as a line of shell under srun gives it
    ],
)
def test_rank_and_world_size_come_from_the_environment(given: dict[str, str], expected: Launch | None) -> None:
    assert from_environment(given) == expected
    assert expected is None or expected.one_host == (expected.local_size == 4)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"RANK": "x"}, "the environment variable RANK is x, not a number up to"),
        ({"LOCAL_WORLD_SIZE": "-2"}, "LOCAL_WORLD_SIZE is -2"),
        ({"WORLD_SIZE": str((1 << 20) + 1)}, "WORLD_SIZE is 1048577"),
        ({"RANK": "4"}, "RANK 4 of WORLD_SIZE 4"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK 2 of LOCAL_WORLD_SIZE 2 is not a valid rank"),
        ({"LOCAL_WORLD_SIZE": "5"}, "LOCAL_WORLD_SIZE 5 is not a valid rank"),
    ],
)
def test_an_impossible_environment_is_reported(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(LaunchError, match=sentence):
        from_environment(SECOND | given)


def test_nccl_without_gpus_is_reported_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def choose(team: Team) -> tuple[str, str]:
        cpus = {str(device_of(team.launch, wanted)) for wanted in ("auto", "cpu", "mps")}
        try:
            team.on_all_ranks(lambda: device_of(team.launch, "cuda"))
        except UserError as error:
            return ",".join(cpus), str(error)
        return ",".join(cpus), ""

    one, other = over_ranks(2, choose)
    assert one == other
    assert one[0] == "cpu"
    assert one[1].startswith("runtime.device is cuda, but ")
    assert one[1].endswith(" has no GPU for NCCL; set it to cpu or auto.")


def test_each_process_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [device_of(Launch(rank, 3, rank, 3), "auto") for rank in (0, 1)] == [
        torch.device("cuda", 0), torch.device("cuda", 1)
    ]  # fmt: skip
    with pytest.raises(LaunchError, match="has 2 GPUs but 3 processes"):
        device_of(Launch(2, 3, 2, 3), "auto")
    assert device_of(Launch(2, 3, 2, 3), "cpu") == torch.device("cpu")


def test_a_port_in_use_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        for name, value in place.items():
            monkeypatch.setenv(name, value)
        with (
            pytest.raises(LaunchError, match=f"the port of 127.0.0.1:{port} is in use"),
            join_ranks(Launch(0, 2, 0, 2)),
        ):
            pass


def test_a_launch_without_its_gpu_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is shown as failed, not as starting."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    place = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    config, run = override(preset_config("clip", "tiny"), ["runtime.device=cuda"]), RunDir(tmp_path / "run")
    with pytest.raises(LaunchError, match="no GPU for NCCL"):
        train_over_ranks(Launch(), lambda: config, run, quiet=True)
    (event,) = EventReader(run.events).read_all()
    assert isinstance(event, RunFailed)
    assert "no GPU for NCCL" in event.message
