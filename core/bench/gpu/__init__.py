"""``python -m core bench gpu``: a training step on this GPU, compared with open_clip's loop and the GPU's peak."""

from core.bench.gpu.measuring import run

__all__ = ["run"]
