"""The student's part of a step as one module: its forward pass and the objectives' heads.

Flow: ``core.training.assembly`` wraps the network in a ``StudentStep``, and ``StepLosses`` calls it. FSDP2 wraps the
whole module, so losses must read the student's parameters within its ``forward``.
"""

from __future__ import annotations

from torch import nn

from core.data.batch import Batch
from core.model.network import Network
from core.model.outputs import Output
from core.model.runtime import Runtime
from core.objectives.build import Objectives
from core.ranks.collectives import world_size
from core.ranks.tensors import register_as_trees


class StudentStep(nn.Module):
    """Computes the student's outputs for a batch. All parameters belong to ``self.network``."""

    def __init__(self, network: Network, runtime: Runtime) -> None:
        super().__init__()
        self.network = network
        self.runtime = runtime

    def forward(self, batch: Batch, objectives: Objectives) -> Output:
        """The student's outputs for ``batch``, with additional outputs of the active ``objectives``."""
        with self.runtime.autocast():
            output = self.network.forward_student(batch, objectives.need_views, objectives.need_prototypes)
            output = objectives.head_outputs(self.network, batch, output)
            return (
                output if world_size() == 1 else register_as_trees(output)
            )  # so that FSDP finds the tensors in the output
