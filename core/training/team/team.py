"""Coordination of the ranks of a run: shared results, errors and decisions.

Flow: ``core.training.over_ranks`` creates a ``Team`` of several ranks; a single process uses ``ALONE``. Only rank 0
uses the run folder: it claims the folder, writes events, status and checkpoints, and reads requests of the window.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from core.data.parts import LoadedBatch
from core.ranks.collectives import mean_over_ranks
from core.ranks.environment import Launch
from core.ranks.messages import Messages, RankFailed
from core.ranks.transfer import to_device
from core.spec.errors import UserError
from core.spec.failures import sentence
from core.spec.run.folder import Control
from core.training.errors import Interrupt, RankLost, TrainingError

T = TypeVar("T")
_REQUESTS: tuple[Control | None, ...] = (None, "pause", "stop")  # in ascending priority


@dataclass
class Team:
    """One rank's view of all ranks; ``messages`` is None for a single rank."""

    launch: Launch = field(default_factory=Launch)
    messages: Messages | None = None
    secret: str = ""  # unique to this launch, the same on every rank
    sharded: bool = False  # whether weights are split, so that computing needs all ranks

    @property
    def is_leader(self) -> bool:
        """Whether this is rank 0."""
        return self.launch.rank == 0

    @property
    def size(self) -> int:
        """The number of ranks, W."""
        return self.launch.size

    def on_all_ranks(self, call: Callable[[], T]) -> T:
        """Run ``call`` on every rank, without a time limit; an error on any rank is raised on all ranks.

        Raises Interrupt, a UserError with the message of the first failed rank, or RankLost.
        """
        if self.messages is None:
            return call()
        value, error = _attempt(call)
        self._raise_first_error(error)
        return value  # type: ignore[return-value]

    def on_first_rank(self, call: Callable[[], T]) -> T:
        """Run ``call`` on rank 0, and return its result (plain data) or raise its error on all ranks."""
        if self.messages is None:
            return call()
        value, error = _attempt(call) if self.is_leader else (None, None)
        self._raise_first_error(error)
        answers: list[Any] = self._exchange("value", value)
        first: T = answers[0]
        return first

    def _raise_first_error(self, error: Exception | None) -> None:
        by_rank = self._exchange("outcome", None if error is None else _describe_error(error))
        failures = [(rank, failure) for rank, failure in enumerate(by_rank) if failure is not None]
        if failures:
            rank, first = failures[0]
            if error is not None and (rank == self.launch.rank or isinstance(error, Interrupt)):
                raise error
            if first["kind"] == "interrupt":
                raise Interrupt("paused" if first["message"] == "paused" else "stopped")
            source = "" if rank == 0 else f"rank {rank} on {first['host']}: "
            raise TrainingError(source + first["message"]) from error

    def _exchange(self, topic: str, value: T) -> list[T]:
        assert self.messages is not None
        try:
            return self.messages.exchange(topic, value)
        except (RankFailed, RuntimeError) as error:
            raise RankLost(str(error)) from error

    def require_same(self, subject: str, value: str) -> None:
        """Raise TrainingError unless every rank has the same ``value``; ``subject`` names it in the message."""
        if self.messages is None:
            return
        hosts = self._exchange("host", self.launch.host)
        values = self._exchange("same", value)
        for rank, value_of_rank in enumerate(values):
            if value_of_rank != values[0]:
                raise TrainingError(
                    f"rank {rank} on {hosts[rank]} has a different {subject} from rank 0 on {hosts[0]} "
                    f"({value_of_rank}, {values[0]}); all processes need the same."
                )

    def agree_on_request(self, request: Control | None) -> Control | None:
        """The request with the highest priority over ranks; all ranks must call this method at the same point."""
        if self.messages is None:
            return request
        return _REQUESTS[self.highest(_REQUESTS.index(request))[0]]

    def highest(self, *numbers: int) -> list[int]:
        """The maximum of each number over ranks; never waits for a GPU."""
        if self.messages is None:
            return list(numbers)
        maxima = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(maxima, op=dist.ReduceOp.MAX)
        return maxima.tolist()

    def synchronise_batch(self, item: LoadedBatch, pad_id: int) -> LoadedBatch:
        """This rank's rows of a batch, with caption length and unreadable images synchronised over ranks."""
        if self.messages is None:
            return item
        length = 0 if item.batch is None else item.batch.texts.shape[1]
        longest, any_broken, any_without_batch = self.highest(length, len(item.broken), item.batch is None)
        broken_rows = item.broken
        if any_broken:
            by_rank = self._exchange("broken", {str(row): reason for row, reason in item.broken.items()})
            broken_rows = {int(row): reason for rows in by_rank for row, reason in rows.items()}
        if any_without_batch or item.batch is None:
            return LoadedBatch(None, broken_rows)
        return LoadedBatch(item.batch.with_text_length(longest, pad_id), broken_rows)

    def broadcast_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rank 0's ``tensors`` on the CPU, broadcast to all ranks."""
        descriptions: list[Any] = self.on_first_rank(
            lambda: [
                [name, list(value.shape), str(value.dtype).removeprefix("torch.")] for name, value in tensors.items()
            ]
        )
        received = {}
        for name, shape, dtype in descriptions:
            tensor = (
                tensors[name].cpu().contiguous() if self.is_leader else torch.empty(shape, dtype=getattr(torch, dtype))
            )
            dist.broadcast(tensor.view(torch.uint8) if tensor.ndim else tensor, 0)
            received[name] = tensor
        return received

    def broadcast_weights(self, *modules: nn.Module | None) -> None:
        """Broadcast rank 0's weights and buffers to all ranks."""
        if self.messages is None:
            return
        for module in modules:
            for value in module.state_dict().values() if module is not None else ():
                dist.broadcast(value, 0)

    def average(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean of each value over ranks; all ranks must pass the same names."""
        if self.messages is None or not values:
            return values
        device = next((value.device for value in values.values() if value.device.type != "cpu"), torch.device("cpu"))
        host_names = sorted(name for name, value in values.items() if value.device != device)
        device_names = sorted(values.keys() - set(host_names))
        stacked = torch.stack([values[name].detach().double() for name in device_names])
        if host_names:  # one copy for all values in host memory
            host_values = torch.stack([values[name].detach().double() for name in host_names])
            stacked = torch.cat([to_device(host_values, device), stacked])
        return dict(zip([*host_names, *device_names], mean_over_ranks(stacked).unbind(), strict=True))


ALONE = Team()


def _attempt(call: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return call(), None
    except Exception as error:  # noqa: BLE001  (reported to other ranks before it is raised)
        return None, error


def _describe_error(problem: Exception) -> dict[str, str]:
    if isinstance(problem, Interrupt):
        return {"kind": "interrupt", "message": problem.outcome, "host": ""}
    text = str(problem) if isinstance(problem, UserError) else sentence(problem)
    if text is None:
        text = (
            f"{type(problem).__name__}: {problem} ({''.join(traceback.format_tb(problem.__traceback__)[-1:]).strip()})"
        )
    return {"kind": "error", "message": text, "host": Launch().host}
