"""Units and direction of metrics, from their names."""

from __future__ import annotations

import pytest

from core.spec.run.metric_names import higher_is_better, is_share, lower_is_better


@pytest.mark.parametrize(
    "metric",
    [
        "val/acc1",
        "acc@1",
        "valAcc",
        "mAP50",
        "val/student/text_to_image_R@1",
        "R@5",
        "recall@5",
        "mean_recall",
        "macro-F1",
    ],
)
def test_accuracies_are_shares_of_which_higher_is_better(metric: str) -> None:
    assert (higher_is_better(metric), lower_is_better(metric), is_share(metric)) == (True, False, True)


@pytest.mark.parametrize("metric", ["images_per_s", "bleu4", "ROUGE-L", "val/CIDEr"])
def test_of_speeds_and_caption_scores_higher_is_better(metric: str) -> None:
    assert (higher_is_better(metric), is_share(metric)) == (True, False)


@pytest.mark.parametrize("metric", ["train/loss", "valLoss", "caption_loss", "median_rank"])
def test_of_losses_and_ranks_lower_is_better(metric: str) -> None:
    assert (higher_is_better(metric), lower_is_better(metric)) == (False, True)


@pytest.mark.parametrize("metric", ["accum_steps", "train/grad_accum", "heatmap", "vaccine_rate", "our@home"])
def test_a_part_of_a_word_is_not_matched(metric: str) -> None:
    assert (higher_is_better(metric), lower_is_better(metric), is_share(metric)) == (False, False, False)
