"""Interpolation of the weights of two models with the same architecture (WiSE-FT, Wortsman et al. 2022).

Flow: ``interpolated:RUN@ALPHA`` -> ``core.checkpoint.opening`` opens both networks, or gets them from `Endpoints` ->
``interpolate``; ``core.evaluation.interpolation`` evaluates a range of alphas.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from core.spec.errors import UserError

N = TypeVar("N", bound=nn.Module)


class Endpoints:
    """Caches the tuned and the initial network of the last interpolation, so that no file is read for another alpha.

    Disabled by default, since the cache needs the memory of two models: a process that serves many alphas sets
    ``is_enabled``.
    """

    is_enabled = False

    def __init__(self) -> None:
        self._last: tuple[Hashable, Any] | None = None

    def get_or_load(self, key: Hashable, load: Callable[[], tuple[N, N]]) -> tuple[N, N]:
        """The tuned and the initial network of ``key``; loaded unless they are cached."""
        if self._last is not None and self._last[0] == key:
            networks: tuple[N, N] = self._last[1]
            return networks
        self._last = None  # frees memory before loading
        networks = load()
        if self.is_enabled:
            self._last = key, networks
        return networks


ENDPOINTS = Endpoints()


@torch.no_grad()
def interpolate(tuned: N, initial: nn.Module, alpha: float) -> N:
    """A network with the weights ``(1 - alpha) * initial + alpha * tuned``, tensor by tensor.

    The network shares with ``tuned`` what is not interpolated: integer tensors, and tensors that the initial model
    lacks or has in another shape (heads, a fusion). Raises UserError if the towers differ in a name or shape.
    """
    mixed = interpolate_states(tuned.state_dict(), initial.state_dict(), alpha)
    shared = {id(tensor): tensor for tensor in (*tuned.parameters(), *tuned.buffers())}
    network = copy.deepcopy(tuned, shared)  # copies only the modules; building them would initialise every weight
    network.load_state_dict(mixed, assign=True)
    return network


def interpolate_states(tuned: Mapping[str, Tensor], initial: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """The state dict at ``alpha``, from ``initial`` (0) to ``tuned`` (1); see ``interpolate``."""
    towers = "towers.clip."
    for name in sorted({name for name in {*tuned, *initial} if name.startswith(towers)}):
        shapes = [tuple(state[name].shape) if name in state else "missing" for state in (tuned, initial)]
        if shapes[0] != shapes[1]:
            raise UserError(
                "models of different architectures cannot be interpolated: the shape of "
                f"{name.removeprefix(towers)} is {shapes[0]} in one, but {shapes[1]} in the other; choose two models "
                "with the same architecture, such as a run and the model that it started from."
            )
    return {
        name: torch.lerp(initial[name].to(value), value, alpha)
        if name in initial and initial[name].shape == value.shape and value.is_floating_point()
        else value
        for name, value in tuned.items()
    }
