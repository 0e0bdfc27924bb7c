"""Builds the objectives of a config, and the network with the heads that they need.

Flow: config -> ``build_network`` (towers, fusion, heads) and ``build_objectives``. Every ``Objective`` of this package
is found automatically, by its config class.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from torch import Tensor, nn

import core.objectives
from core.custom.loading import NO_CODE, CustomCode
from core.data.batch import Batch
from core.model.network import Network, build_backbone
from core.model.outputs import Output
from core.objectives.custom import CustomObjective
from core.objectives.objective import Objective
from core.objectives.parts.schedule import ObjectiveValues
from core.spec.config import CustomObjectiveConfig, ObjectiveConfig, RunConfig
from core.spec.config.renamed import current_name
from core.spec.run.code import CodeError


class Objectives(nn.Module):
    """Objectives by name; the state dict contains their buffers as ``<name>.<buffer>``."""

    def __init__(self, objectives: list[Objective]) -> None:
        super().__init__()
        for objective in objectives:
            self.add_module(objective.name, objective)

    def __iter__(self) -> Iterator[Objective]:
        return (child for child in self.children() if isinstance(child, Objective))

    def __len__(self) -> int:
        return len(self._modules)

    def load_buffers(self, state: Mapping[str, Tensor]) -> None:
        """Load the buffers in ``state``, the result of ``state_dict``; also buffers under older names."""
        self.load_state_dict({current_name("state", name, warn=False): value for name, value in state.items()})

    def active(self, skips_teacher: bool) -> Objectives:
        """The objectives of a step: all, or, in a step that skips the teacher, those that do not learn from it."""
        if skips_teacher:
            return Objectives([objective for objective in self if not objective.learns_from_teacher])
        return self

    @property
    def need_teacher(self) -> bool:
        """Whether any objective reads the teacher's outputs."""
        return any(objective.needs_teacher for objective in self)

    @property
    def need_views(self) -> bool:
        """Whether any objective reads the student's additional views."""
        return any(objective.needs_views for objective in self)

    @property
    def need_prototypes(self) -> bool:
        """Whether any objective reads the network's shared prototypes."""
        return any(objective.needs_prototypes for objective in self)

    def begin_step(self, network: Network, values: Mapping[str, ObjectiveValues]) -> None:
        """Set the scheduled values of this step, before the forward passes."""
        for objective in self:
            objective.begin_step(network, values[objective.name])

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> Output:
        """The student's ``output`` with the additional outputs of each objective."""
        return output.with_extra({objective.name: objective.head_outputs(network, batch, output) for objective in self})

    def teacher_head_outputs(self, network: Network, batch: Batch, output: Output) -> Output:
        """The teacher's ``output`` with the additional outputs of each objective."""
        return output.with_extra(
            {objective.name: objective.teacher_head_outputs(network, batch, output) for objective in self}
        )


def build_network(
    config: RunConfig, model_cfg: dict[str, Any], classes: Sequence[str] = (), code: CustomCode = NO_CODE
) -> Network:
    """The network of ``config`` with random weights from torch's generator.

    ``classes``: the values of ``data.label``. Raises ModelError if the architecture cannot be built, or has no patches
    for the fusion.
    """
    return add_heads(build_backbone(config, model_cfg, code), config, classes, code)


def add_heads(network: Network, config: RunConfig, classes: Sequence[str] = (), code: CustomCode = NO_CODE) -> Network:
    """Add the heads of the objectives to ``network``, and return it."""
    objectives = list(build_objectives(config, code=code))
    learns_classes = any(settings.learns_classes for _, settings in config.objectives if settings.weight > 0)
    network.classes = tuple(classes) if learns_classes else ()
    for objective in objectives:
        objective.build_shared_head(network)
    for objective in objectives:
        network.returns_text_tokens |= objective.needs_text_tokens
        network.returns_patch_tokens |= objective.needs_patches
        head = objective.build_head(network)
        if head is not None:
            network.heads[objective.name] = head
    return network


def build_objectives(config: RunConfig, network: Network | None = None, code: CustomCode = NO_CODE) -> Objectives:
    """The objectives with a weight above 0; with their buffers if ``network`` is given.

    Raises CodeError if a custom objective cannot be used.
    """
    section = config.objectives
    built_in = [
        settings for _, settings in section if settings.weight > 0 and not isinstance(settings, CustomObjectiveConfig)
    ]
    custom = [CustomObjective(key, settings, code) for key, settings in section.custom.items() if settings.weight > 0]
    for custom_objective in custom:
        if custom_objective.learns_from_teacher and not config.teacher.traits.exists:
            raise CodeError(
                f"objectives.custom: {custom_objective.name} needs a teacher; set teacher.kind, for example to ema."
            )
    objectives = Objectives([*(objective_class(settings).build(settings, section) for settings in built_in), *custom])
    if network is not None:
        for objective in objectives:
            objective.build_buffers(network)
    return objectives


def objective_class(config: ObjectiveConfig) -> type[Objective]:
    """The class that implements ``config``. Raises LookupError if there is none."""
    for candidate in objective_classes():
        if candidate.implements(config):
            return candidate
    raise LookupError(f"no class in core.objectives has the config class {type(config).__name__}")


@cache
def objective_classes() -> tuple[type[Objective], ...]:
    """All objectives of this package that have a ``config_class``."""
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(core.objectives.__path__, f"{core.objectives.__name__}.")
        if not module.ispkg and module.name not in (__name__, Objective.__module__)
    ]
    return tuple(
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Objective) and value.__module__ == module.__name__
        if hasattr(value, "config_class")
    )
