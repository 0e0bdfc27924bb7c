"""The student's part of a step as one module: its forward pass, and what the objectives' heads add.

Flow: ``core.training.assembly`` makes it around the network; ``TrainStep`` calls it, and whatever shards a network or
gathers its outputs (FSDP2) wraps it: all that a loss reads of the student's parameters is read within its ``forward``.
"""

from __future__ import annotations

from torch import nn

from core.data.batch import Batch
from core.model.network import Network
from core.model.outputs import Output
from core.model.runtime import Runtime
from core.objectives.build import Objectives
from core.ranks.collectives import size
from core.ranks.tensors import as_trees


class StudentStep(nn.Module):
    """A batch in, the student's outputs out. Its parameters are the network's, under ``network.``."""

    def __init__(self, network: Network, runtime: Runtime) -> None:
        super().__init__()
        self.network = network
        self.runtime = runtime

    def forward(self, batch: Batch, objectives: Objectives) -> Output:
        """The student's outputs for ``batch``, with what the heads of ``objectives``, those of this step, add."""
        with self.runtime.autocast():
            output = self.network.forward_student(batch, objectives.need_views, objectives.need_prototypes)
            output = objectives.head_outputs(self.network, batch, output)
            return output if size() == 1 else as_trees(output)
