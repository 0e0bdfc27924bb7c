"""Interpolation of the weights of two models of one architecture (WiSE-FT, Wortsman et al. 2022).

Flow: ``interpolated:RUN@ALPHA`` -> ``core.checkpoint.opening`` opens both networks -> ``interpolate_weights``;
``core.evaluation.interpolation`` evaluates a range of alphas.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from core.spec.errors import UserError


@torch.no_grad()
def interpolate_weights(tuned: nn.Module, initial: nn.Module, alpha: float) -> None:
    """Change ``tuned`` to ``(1 - alpha) * initial + alpha * tuned``, tensor by tensor.

    Tensors that the initial model does not have (heads, a fusion), and integer tensors, stay those of ``tuned``. Raises
    UserError when the towers differ in a name or shape.
    """
    mixed = interpolate_states(tuned.state_dict(), initial.state_dict(), alpha)
    tuned.load_state_dict(mixed)


def interpolate_states(tuned: Mapping[str, Tensor], initial: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """The state at ``alpha`` of the way from ``initial`` to ``tuned``; see ``interpolate_weights``."""
    towers = "towers.clip."
    for name in sorted({name for name in {*tuned, *initial} if name.startswith(towers)}):
        if name not in tuned or name not in initial or tuned[name].shape != initial[name].shape:
            raise UserError(
                f"models of different architectures cannot be interpolated: {name.removeprefix(towers)} differs in "
                "shape; choose the model that training started from."
            )
    return {
        name: torch.lerp(initial[name].to(value), value, alpha)
        if name in initial and initial[name].shape == value.shape and value.is_floating_point()
        else value
        for name, value in tuned.items()
    }
