"""Events on one rank reach all ranks: unreadable images, non-finite losses, requests and failures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from core.data.batch import Batch
from core.data.errors import DataError
from core.data.parts import LoadedBatch
from core.ranks.environment import LaunchError, check_mesh
from core.ranks.messages import Failure, RankFailed
from core.spec.errors import UserError
from core.spec.run.events import EventReader, Log
from core.training.errors import Interrupt, TrainingError
from core.training.over_ranks import _final_error, _means_lost_rank
from core.training.team.team import Team
from core.training.team.watch import Watch
from tests.core.ranks.forked import opened, over_ranks, steps_of
from tests.core.ranks.settings import config_of, labelled_pairs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.mark.ci
def test_an_image_unreadable_on_one_rank_is_replaced_on_all(tmp_path: Path) -> None:
    data = labelled_pairs(tmp_path / "pairs")
    config = config_of("clip", data, tmp_path, "data.cache_mib=0", "optim.epochs=1")

    def train(team: Team) -> tuple[list[dict[str, float]], dict[int, str]]:
        with opened(config, tmp_path / "run", team) as loop:
            lost = int(loop.parts.loader._maker.order.take(0, 0, 12)[0][-1])  # in the last rank's share
            if team.launch.rank == team.size - 1:
                Path(loop.parts.train.path(lost)).unlink()
            team.on_all_ranks(lambda: None)
            return steps_of(loop, 3), dict(loop.parts.train.broken)

    (one, broken), (other, known) = over_ranks(2, train)
    assert list(broken) == list(known)
    assert len(broken) == 1
    assert [step["train/loss"] for step in one] == [step["train/loss"] for step in other]
    events = EventReader(tmp_path / "run" / "events.jsonl").read_all()
    logged = [event.message for event in events if isinstance(event, Log)]
    assert sum("is replaced by another pair" in message for message in logged) == 1


def test_ranks_with_different_data_are_reported(tmp_path: Path) -> None:
    """An older copy of a manifest is reported; an equal copy in another folder is not."""
    first, second, other = (labelled_pairs(tmp_path / name) for name in ("first", "second", "other"))
    lines = other.read_text().splitlines()
    other.write_text("\n".join([lines[0], lines[2], lines[1], *lines[3:]]) + "\n")

    def begin(team: Team) -> list[str]:
        results = []
        for here in (second, other):
            config = config_of("clip", first if team.is_leader else here, tmp_path)
            try:
                with opened(config, tmp_path / "run", team) as loop:
                    results.append(f"{len(loop.parts.train)} pairs")
            except TrainingError as error:
                results.append(str(error))
        return results

    for same, apart in over_ranks(2, begin):
        assert same == "36 pairs"
        assert "rank 1 on" in apart
        assert "has a different copy of the training data from rank 0" in apart


def exhaust() -> None:
    """Allocate more memory than any machine has."""
    torch.empty(1 << 60, dtype=torch.uint8)


def refuse() -> None:
    """Raise the error of a GPU's allocator."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


@pytest.mark.parametrize("fail", [exhaust, pytest.param(refuse, marks=pytest.mark.slow)])
def test_out_of_memory_on_one_rank_ends_all_with_a_user_error(
    fail: Callable[[], None], data: Path, tmp_path: Path
) -> None:
    config = config_of("clip", data, tmp_path)

    def train(team: Team) -> str:
        with opened(config, tmp_path / f"run-{fail.__name__}", team) as loop:
            plain = loop.step_losses

            def scarce(batch: Batch, step: int) -> object:
                if step == 2 and team.launch.rank == 1:
                    fail()
                return plain(batch, step)

            loop.step_losses = scarce  # type: ignore[assignment]
            assert team.messages is not None
            with Watch(team.messages, [], lambda why, word: None) as watch:
                try:
                    steps_of(loop, 3)
                except (TrainingError, RuntimeError) as error:
                    ended = _final_error(error, team, watch)
                    return f"{type(ended).__name__}: {ended}"
        return "trained"

    one, other = over_ranks(2, train)
    assert one.startswith("TrainingError: rank 1 on ")
    assert other.startswith("TrainingError: out of memory on ")
    for message in (one, other):
        assert "at step 2 with 6 pairs on each of 2 ranks; set optim.micro_batch to 3 or less" in message


def test_too_many_unreadable_images_on_one_rank_end_all(tmp_path: Path) -> None:
    data = labelled_pairs(tmp_path / "pairs")
    config = config_of("clip", data, tmp_path, "data.cache_mib=0", "data.max_bad_share=0")

    def train(team: Team) -> str:
        with opened(config, tmp_path / "run", team) as loop:
            if team.launch.rank == 1:
                for row in loop.parts.loader._maker.order.take(0, 6, 12)[0].tolist():
                    Path(loop.parts.train.path(row)).unlink()
            team.on_all_ranks(lambda: None)
            try:
                steps_of(loop, 3)
            except DataError as error:
                return str(error)
            return "trained"

    one, other = over_ranks(2, train)
    assert one == other
    assert "6 of the 36 rows" in one


@pytest.mark.ci
def test_a_long_caption_pads_all_and_a_non_finite_loss_skips_the_step_on_all(data: Path, tmp_path: Path) -> None:
    config = config_of("clip", data, tmp_path)

    def train(team: Team) -> tuple[list[float], list[bool]]:
        with opened(config, tmp_path / "run", team) as loop:
            plain, moved, losses = loop.step_losses, [], []
            for step, batch in enumerate(loop.parts.loader.batches(0, 3)):
                own_length = 0 if team.is_leader else 30  # captions are padded to the longest of all ranks
                agreed = team.synchronise_batch(LoadedBatch(batch.with_text_length(own_length, 0)), 0).batch
                assert agreed is not None
                assert agreed.texts.shape[1] == 30
                spoilt = step == 1 and team.launch.rank == 1
                loop.step_losses = lambda *given, bad=spoilt: _spoilt(plain(*given), bad)  # type: ignore[assignment]
                before = [parameter.detach().clone() for parameter in loop.network.parameters()]
                losses.append(float(loop.train_step(batch)["train/loss"]))
                after = list(loop.network.parameters())
                moved.append(any(not torch.equal(x, y) for x, y in zip(before, after, strict=True)))
            return losses, moved

    (losses, moved), (others, also) = over_ranks(2, train)
    assert [loss == loss for loss in losses] == [True, False, True]
    assert [loss == loss for loss in others] == [True, False, True]
    assert moved == also == [True, False, True]


def _spoilt(result: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]], bad: bool) -> object:
    losses, report = result
    return {name: loss * float("nan") if bad else loss for name, loss in losses.items()}, report


def test_requests_and_failures_of_one_rank_reach_all() -> None:
    def fail() -> None:
        raise UserError("the data are not there.")

    def interrupt() -> None:
        raise Interrupt("paused")

    def agree(team: Team) -> list[str | None]:
        rank, found = team.launch.rank, list[str | None]()
        for request in (None, "pause" if rank == 2 else None, ("pause", "stop", None)[rank]):
            found.append(team.agree_on_request(request))  # type: ignore[arg-type]
        for call in (fail if rank == 1 else None, interrupt if team.is_leader else None):
            try:
                team.on_all_ranks(call or (lambda: None))
            except (TrainingError, UserError, Interrupt) as error:
                found.append(f"{type(error).__name__} {error}")
        assert team.messages is not None
        team.highest(1)  # all are connected before one of them leaves
        if rank == 1:
            team.messages.report_failure(Failure(1, "elsewhere", "KeyError", "it broke"))
            return found
        try:
            team.messages.exchange("never", 1)
        except RankFailed:
            word = team.messages.failure(5.0)
            found.append(None if word is None else f"{word.rank} {word.message}")
        return found

    answers = over_ranks(3, agree)
    assert [found[5:] for found in answers] == [["1 it broke"], [], ["1 it broke"]]
    for rank, (*requests, failure, interruption) in enumerate(found[:5] for found in answers):
        assert requests == [None, "pause", "stop"]
        assert failure is not None
        assert failure.endswith("the data are not there.")
        assert failure.startswith("UserError" if rank == 1 else "TrainingError rank 1 on ")
        assert interruption == "Interrupt paused"


def test_a_mesh_must_match_the_number_of_ranks() -> None:
    check_mesh(4, 2)
    for size, shard in ((2, 4), (4, 3)):
        with pytest.raises(LaunchError, match=f"runtime.shard is {shard}, which does not divide {size} processes"):
            check_mesh(size, shard)


@pytest.mark.parametrize(
    ("error", "unanswered"),
    [
        (RuntimeError("[/gloo/tcp] Connection closed by peer [127.0.0.1]"), True),
        (RuntimeError("Timed out after 30 s"), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("connection"), False),
    ],
)
def test_errors_of_an_unresponsive_rank_are_recognised(error: Exception, unanswered: bool) -> None:
    assert _means_lost_rank(error) is unanswered
