"""``python -m core bench gpu``: a training step on this GPU, against open_clip's training loop and the GPU's peak."""

from core.bench.gpu.measuring import run

__all__ = ["run"]
