"""``python -m core bench gpu``: a step on this GPU, against open_clip's own training and the GPU's peak."""

from core.bench.gpu.measuring import run

__all__ = ["run"]
