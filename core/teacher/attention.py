"""The teacher's attention selects the patches that the student reads (A-CLIP, Yang et al. 2023, "Attentive mask CLIP").

Flow: in each step the teacher first computes its targets from full views; ``select_attended_patches`` then restricts
the student's views of the same crops to the patches with the highest attention.

A-CLIP averages the class token's attention over all layers; here it is that of the last block, averaged over heads,
which the pass computes anyway.

Legend: B batch, P patches, k kept ones.
"""

from __future__ import annotations

from dataclasses import replace

from core.data.batch import Batch, View
from core.model.outputs import Output


def select_attended_patches(batch: Batch, teacher: Output) -> Batch:
    """``batch`` with the ``view.attended`` patches that ``teacher`` attends to most, for views that set it."""
    if not batch.asks_attention:
        return batch
    teacher_views = zip(teacher.distilled, teacher.image_features, strict=True)
    maps = {view.number: features.attention for view, features in teacher_views}  # (B, P) each

    def select(view: View) -> View:
        if not view.attended:
            return view
        attention = maps[view.number]
        assert attention is not None
        return replace(view, kept=attention.topk(view.attended, dim=1).indices)  # (B, k)

    return replace(batch, clean=select(batch.clean), student=tuple(select(view) for view in batch.student))
