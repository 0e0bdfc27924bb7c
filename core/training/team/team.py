"""The ranks of a run as a team: what one of them finds out, all of them know; what one of them decides, all do.

Flow: ``core.training.over_ranks`` makes a ``Team`` of several ranks; a run of one process has ``ALONE``, in which
everything is as if nobody else were there. Rank 0 has the run folder: it alone claims it, writes events, status and
checkpoints, and reads what the window asks.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from core.data.loader import LoadedBatch
from core.ranks.collectives import mean_over_ranks
from core.ranks.environment import Launch
from core.ranks.messages import Messages, RankFailed
from core.ranks.transfer import sent
from core.spec.errors import UserError
from core.spec.failures import sentence
from core.spec.run.folder import Control
from core.training.errors import Interrupt, RankLost, TrainingError

T = TypeVar("T")
_ASKED: tuple[Control | None, ...] = (None, "pause", "stop")  # by how much it counts


@dataclass
class Team:
    """One rank's view of all; ``messages`` is None where there is one rank only."""

    launch: Launch = field(default_factory=Launch)
    messages: Messages | None = None
    secret: str = ""  # a name that this launch alone knows, the same on every rank
    sharded: bool = False  # whether weights are split, so that no rank can compute without the others

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.launch.rank == 0

    @property
    def size(self) -> int:
        """W"""
        return self.launch.size

    def together(self, call: Callable[[], T]) -> T:
        """``call`` on every rank, which may take its time; what any of them raises, all raise.

        An Interrupt, a UserError with what the first rank in trouble says, or RankLost.
        """
        if self.messages is None:
            return call()
        value, error = _attempt(call)
        self._raise_first(error)
        return value  # type: ignore[return-value]

    def by_first(self, call: Callable[[], T]) -> T:
        """What ``call`` gives on rank 0, plain data; the others wait for it. What it raises, all raise."""
        if self.messages is None:
            return call()
        value, error = _attempt(call) if self.leads else (None, None)
        self._raise_first(error)
        answers: list[Any] = self._exchange("value", value)
        first: T = answers[0]
        return first

    def _raise_first(self, error: Exception | None) -> None:
        everyone = self._exchange("outcome", None if error is None else _said(error))
        found = [(rank, one) for rank, one in enumerate(everyone) if one is not None]
        if error is not None and (found[0][0] == self.launch.rank or isinstance(error, Interrupt)):
            raise error
        if found:
            rank, first = found[0]
            if first["kind"] == "interrupt":
                raise Interrupt("paused" if first["message"] == "paused" else "stopped")
            where = "" if rank == 0 else f"rank {rank} on {first['host']}: "
            raise TrainingError(where + first["message"]) from error

    def _exchange(self, about: str, value: T) -> list[T]:
        assert self.messages is not None
        try:
            return self.messages.exchange(about, value)
        except (RankFailed, RuntimeError) as gone:
            raise RankLost(str(gone)) from gone

    def same(self, about: str, value: str) -> None:
        """TrainingError unless every rank has the same ``value`` of what ``about`` names."""
        if self.messages is None:
            return
        hosts = self._exchange("host", self.launch.host)
        for rank, other in enumerate(every := self._exchange("same", value)):
            if other != every[0]:
                raise TrainingError(
                    f"rank {rank} on {hosts[rank]} has another {about} than rank 0 on {hosts[0]} ({other}, "
                    f"{every[0]}); every process needs the same."
                )

    def agree(self, asked: Control | None) -> Control | None:
        """What any rank was asked; called by all at the same place."""
        if self.messages is None:
            return asked
        return _ASKED[self.highest(_ASKED.index(asked))[0]]

    def highest(self, *numbers: int) -> list[int]:
        """The greatest of each number over ranks; never waits for a GPU."""
        if self.messages is None:
            return list(numbers)
        found = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return found.tolist()

    def loaded(self, item: LoadedBatch, pad_id: int) -> LoadedBatch:
        """This rank's rows of a batch with captions as long as everyone's, and the unreadable images of all ranks."""
        if self.messages is None:
            return item
        words = 0 if item.batch is None else item.batch.texts.shape[1]
        longest, broken, nothing = self.highest(words, len(item.broken), item.batch is None)
        found = item.broken
        if broken:
            everyone = self._exchange("broken", {str(row): reason for row, reason in item.broken.items()})
            found = {int(row): reason for one in everyone for row, reason in one.items()}
        if nothing or item.batch is None:
            return LoadedBatch(None, found)
        return LoadedBatch(item.batch.with_words(longest, pad_id), found)

    def tensors_of_first(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rank 0's ``tensors``, on the CPU, for all; those of the others are not looked at."""
        described: list[Any] = self.by_first(
            lambda: [
                [name, list(value.shape), str(value.dtype).removeprefix("torch.")] for name, value in tensors.items()
            ]
        )
        found = {}
        for name, shape, dtype in described:
            given = tensors[name].cpu().contiguous() if self.leads else torch.empty(shape, dtype=getattr(torch, dtype))
            dist.broadcast(given.view(torch.uint8) if given.ndim else given, 0)
            found[name] = given
        return found

    def start_alike(self, *modules: nn.Module | None) -> None:
        """Give every rank rank 0's weights and buffers."""
        if self.messages is None:
            return
        for module in modules:
            for value in module.state_dict().values() if module is not None else ():
                dist.broadcast(value, 0)

    def report(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean of each value over ranks, which all have the same ones."""
        if self.messages is None or not values:
            return values
        device = next((value.device for value in values.values() if value.device.type != "cpu"), torch.device("cpu"))
        near = sorted(name for name, value in values.items() if value.device != device)
        names = [*near, *sorted(values.keys() - set(near))]
        stacked = torch.stack([values[name].detach().double() for name in names[len(near) :]])
        if near:  # one copy for all that the host knows
            known = torch.stack([values[name].detach().double() for name in near])
            stacked = torch.cat([sent(known, device), stacked])
        return dict(zip(names, mean_over_ranks(stacked).unbind(), strict=True))


ALONE = Team()


def _attempt(call: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return call(), None
    except Exception as error:  # noqa: BLE001  (whatever it is, the others have to hear of it before it is raised)
        return None, error


def _said(problem: Exception) -> dict[str, str]:
    if isinstance(problem, Interrupt):
        return {"kind": "interrupt", "message": problem.outcome, "host": ""}
    text = str(problem) if isinstance(problem, UserError) else sentence(problem)
    if text is None:
        text = (
            f"{type(problem).__name__}: {problem} ({''.join(traceback.format_tb(problem.__traceback__)[-1:]).strip()})"
        )
    return {"kind": "error", "message": text, "host": Launch().host}
