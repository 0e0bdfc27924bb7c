"""The teacher's attention says which patches the student reads (A-CLIP, Yang et al. 2023, "Attentive mask CLIP").

Flow: in each step the teacher makes its targets of whole views first; ``attended`` then gives the student's views of
the same crops the patches that mattered most to it.

A-CLIP averages the class token's attention over all layers; here it is that of the last block, mean over heads, which
the pass computes anyway.

Legend: B batch, P patches, k kept ones.
"""

from __future__ import annotations

from dataclasses import replace

from core.data.batch import Batch, View
from core.model.outputs import Output


def attended(batch: Batch, teacher: Output) -> Batch:
    """``batch`` with the patches that ``teacher`` attends to most, in each view that asks for so many."""
    if not batch.asks_attention:
        return batch
    made = zip(teacher.distilled, teacher.image_features, strict=True)
    maps = {view.number: features.attention for view, features in made}  # (B, P) each

    def chosen(view: View) -> View:
        if not view.attended:
            return view
        attention = maps[view.number]
        assert attention is not None
        return replace(view, kept=attention.topk(view.attended, dim=1).indices)  # (B, k)

    return replace(batch, clean=chosen(batch.clean), student=tuple(chosen(view) for view in batch.student))
