"""The objectives of an experiment, and the network that holds what they learn.

Flow: config -> ``build_network`` (towers, fusion, a head for each objective that has one) and ``build_objectives``.
The classes are found, not listed: every ``Objective`` of this package is registered by its config class.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from torch import Tensor, nn

import core.objectives
from core.data.batch import Batch
from core.model.network import Network, build_backbone
from core.model.outputs import Output
from core.objectives.objective import Objective
from core.objectives.parts.schedule import ObjectiveValues
from core.spec.config import ObjectiveConfig, RunConfig
from core.spec.config.renamed import present


class Objectives(nn.Module):
    """Objectives by name; its state dict holds their buffers as ``<name>.<buffer>``."""

    def __init__(self, objectives: list[Objective]) -> None:
        super().__init__()
        for objective in objectives:
            self.add_module(objective.name, objective)

    def __iter__(self) -> Iterator[Objective]:
        return (child for child in self.children() if isinstance(child, Objective))

    def __len__(self) -> int:
        return len(self._modules)

    def load_buffers(self, state: Mapping[str, Tensor]) -> None:
        """Load what ``state_dict`` gave, now or when a buffer still had its older name."""
        self.load_state_dict({present("state", name, told=False): value for name, value in state.items()})

    def active(self, taught: bool) -> Objectives:
        """Those that count now: where nobody teaches yet, those that do not learn from a teacher."""
        return self if taught else Objectives([one for one in self if not one.learns_from_teacher])

    @property
    def ask_teacher(self) -> bool:
        """Whether any of them reads the teacher's outputs."""
        return any(one.asks_teacher for one in self)

    @property
    def need_views(self) -> bool:
        """Whether any of them reads the student's further views."""
        return any(one.needs_views for one in self)

    @property
    def need_prototypes(self) -> bool:
        """Whether any of them reads the network's shared prototypes."""
        return any(one.needs_prototypes for one in self)

    def begin_step(self, network: Network, now: Mapping[str, ObjectiveValues]) -> None:
        """Give each the values of its schedules in this step, before the networks see a batch."""
        for one in self:
            one.begin_step(network, now[one.name])

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> Output:
        """The student's ``output`` with what each objective computes besides."""
        return output.with_extra({one.name: one.head_outputs(network, batch, output) for one in self})

    def teacher_head_outputs(self, network: Network, batch: Batch, output: Output) -> Output:
        """The teacher's ``output`` with what each objective computes besides."""
        return output.with_extra({one.name: one.teacher_head_outputs(network, batch, output) for one in self})


def build_network(config: RunConfig, model_cfg: dict[str, Any], classes: Sequence[str] = ()) -> Network:
    """The network of an experiment with random weights, the same for the same state of torch's generator.

    ``classes``: those of ``data.label``. Raises ModelError when the architecture cannot be built, or keeps no patches
    for the fusion.
    """
    return add_heads(build_backbone(config, model_cfg), config, classes)


def add_heads(network: Network, config: RunConfig, classes: Sequence[str] = ()) -> Network:
    """``network`` with a head for each objective that learns parts of its own."""
    objectives = list(build_objectives(config))
    learnt = any(settings.learns_classes for _, settings in config.objectives if settings.weight > 0)
    network.classes = tuple(classes) if learnt else ()
    for objective in objectives:
        objective.build_shared_head(network)
    for objective in objectives:
        network.text_tokens |= objective.needs_text_tokens
        network.patch_tokens |= objective.needs_patches
        head = objective.build_head(network)
        if head is not None:
            network.heads[objective.name] = head
    return network


def build_objectives(config: RunConfig, network: Network | None = None) -> Objectives:
    """Every objective with a weight above 0; with what it remembers from step to step where ``network`` is given."""
    every = config.objectives
    objectives = Objectives(
        [objective_class(settings).build(settings, every) for _, settings in every if settings.weight > 0]
    )
    if network is not None:
        for objective in objectives:
            objective.build_buffers(network)
    return objectives


def objective_class(config: ObjectiveConfig) -> type[Objective]:
    """The class that computes the objective of ``config``. Raises LookupError when no module of the package has one."""
    for found in objective_classes():
        if found.serves(config):
            return found
    raise LookupError(f"no class in core.objectives has the config class {type(config).__name__}")


@cache
def objective_classes() -> tuple[type[Objective], ...]:
    """Every objective that a module of this package defines and gives a ``config_class``."""
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
