"""Trains the towers by low-rank updates of their matrices: LoRA (Hu et al. 2022, arXiv 2106.09685).

Flow: the trainer calls ``Network.add_lora``; the optimiser then trains the factors instead of the matrices. Each step
calls ``project_gradients`` after the backward pass, and ``update_matrices`` after the optimiser.

A matrix is ``W = W_0 + alpha / r * up @ down``. The network keeps ``W`` itself, so that teachers, checkpoints,
interpolation and exports need not know of the factors. Their gradients are computed from the gradient of ``W``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from core.model.errors import ModelError
from core.model.towers.towers import Towers


class LowRank(nn.Module):
    """The factors ``up`` (out, r) and ``down`` (r, in) of each matrix (out, in) in the blocks of the towers.

    The query, key and value weights of open_clip's attention are one matrix (3 D, D), so they share ``down``.
    """

    def __init__(self, towers: Towers, rank: int, alpha: float) -> None:
        """Freezes the other weights of the open_clip model, except for the logit scale and bias.

        ``up`` is 0, so that training starts from the current weights; ``down`` is drawn from torch's generator.
        Matrices that are already frozen get no factors. Raises ModelError if there is no other matrix.
        """
        super().__init__()
        in_blocks = {id(parameter) for block in towers.blocks() for parameter in block.parameters()}
        self._scale = alpha / rank
        self.matrices: list[nn.Parameter] = []
        for name, parameter in towers.clip.named_parameters():
            if parameter.ndim == 2 and id(parameter) in in_blocks and parameter.requires_grad:
                self.matrices.append(parameter)
            elif not name.startswith("logit_"):
                parameter.requires_grad_(False)
        if not self.matrices:
            raise ModelError("LoRA needs transformer blocks that are not frozen; set towers.lora_rank to 0.")
        self.up = nn.ParameterList(nn.Parameter(matrix.new_zeros(len(matrix), rank)) for matrix in self.matrices)
        self.down = nn.ParameterList(nn.Parameter(matrix.new_empty(rank, matrix.shape[1])) for matrix in self.matrices)
        for down in self.down:
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))  # as in the paper's code
        for index, matrix in enumerate(self.matrices):
            self.register_buffer(f"initial_{index}", matrix.detach().clone())

    @torch.no_grad()
    def start_from_matrices(self) -> None:
        """Make the current matrices W_0, with ``up`` 0."""
        for matrix, initial, up in zip(self.matrices, self.buffers(), self.up, strict=True):
            initial.copy_(matrix)
            up.zero_()

    @torch.no_grad()
    def project_gradients(self) -> None:
        """Replace the gradients of the matrices by those of their factors."""
        for matrix, up, down in zip(self.matrices, self.up, self.down, strict=True):
            gradient: Tensor | None = matrix.grad
            if gradient is not None:
                up.grad = self._scale * gradient @ down.T
                down.grad = self._scale * up.T @ gradient
                matrix.grad = None

    @torch.no_grad()
    def update_matrices(self) -> None:
        """Compute the matrices from their factors."""
        for matrix, initial, up, down in zip(self.matrices, self.buffers(), self.up, self.down, strict=True):
            matrix.copy_(torch.addmm(initial, up, down, alpha=self._scale))
