"""Caption scores against pycocoevalcap's (recorded with its Java tokenizer), degenerate captions, bad input."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from core.metrics.captions import java as java_metrics
from core.metrics.captions.degeneracy import degeneracy, is_looping
from core.metrics.captions.scores import caption_scores, longest_common
from core.metrics.captions.text import tokens
from core.metrics.inputs import EvaluationError

GOLDEN = json.loads((Path(__file__).parent / "captioning_golden.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("caption", "expected"), GOLDEN["tokens"])
def test_words_match_the_java_tokenizer(caption: str, expected: str) -> None:
    assert " ".join(tokens(caption)) == expected


def test_emoji_are_words() -> None:
    assert tokens("A smile 😀!") == ["a", "smile", "😀"]


def test_scores_equal_pycocoevalcap() -> None:
    theirs = GOLDEN["scores"]
    ours = caption_scores(GOLDEN["captions"], GOLDEN["references"])
    assert ours.bleu == pytest.approx(theirs["Bleu"], abs=1e-6)
    np.testing.assert_allclose(ours.rouge, theirs["ROUGE_L_each"], atol=1e-6)
    np.testing.assert_allclose(ours.cider, theirs["CIDEr_each"], atol=1e-6)
    metrics = ours.metrics()
    assert metrics["CIDEr"] == pytest.approx(theirs["CIDEr"], abs=1e-6)
    assert metrics["ROUGE_L"] == pytest.approx(theirs["ROUGE_L"], abs=1e-6)
    assert metrics["Bleu_4"] == pytest.approx(theirs["Bleu"][3], abs=1e-6)


def plain_longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    if not a or not b:
        return 0
    if a[0] == b[0]:
        return 1 + plain_longest_common(a[1:], b[1:])
    return max(plain_longest_common(a[1:], b), plain_longest_common(a, b[1:]))


def test_longest_common_subsequence() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        a, b = (random.choice(list("abc"), size=random.integers(0, 8)).tolist() for _ in range(2))
        assert longest_common(a, b) == plain_longest_common(a, b)


def test_perfect_captions_and_exact_matches() -> None:
    references = [["A red bike.", "one bike"], ["two dogs on the beach"], ["the clock of a church tower", "x"]]
    scores = caption_scores(["a red bike", "Two dogs on the beach!", "a church"], references)
    assert scores.exact.tolist() == [1, 1, 0]
    assert scores.rouge[:2].tolist() == [1, 1]
    perfect = caption_scores([own[0] for own in references], [[own[0]] for own in references]).metrics()
    assert perfect["CIDEr"] == pytest.approx(10 * 11 / 12)  # three words have no run of four
    assert perfect["Bleu_1"] == pytest.approx(1)


def test_images_without_reference_are_left_out_and_noted() -> None:
    scores = caption_scores(["a cat", "a dog", "a cow"], [["a cat"], [], ["  ", "..."]])
    assert scores.rows == (0,)
    assert scores.notes[0].startswith("2 of 3 images have no reference")
    assert "CIDEr" in scores.notes[1]


def test_captions_stay_aligned_when_an_image_has_no_reference() -> None:
    scores = caption_scores(["a man", "a dog", "the sea"], [["a man"], [" "], ["the sea"]])
    assert scores.rows == (0, 2)
    assert scores.exact.tolist() == [1.0, 1.0]


def test_bad_input_raises_a_user_error() -> None:
    with pytest.raises(EvaluationError, match="2 captions do not match references for 1"):
        caption_scores(["a", "b"], [["a"]])
    with pytest.raises(EvaluationError, match="none of the 1 images has a reference"):
        caption_scores(["a"], [[]])
    with pytest.raises(EvaluationError, match="no captions"):
        degeneracy([])


@pytest.mark.parametrize(
    ("caption", "looping"),
    [
        ("a dog a dog a dog", True),
        ("very very very good", True),
        ("a man in a hat", False),
        ("very very good", False),
        ("x the end of the end of the end of it", True),
        ("a b c d e a b c d e a b c d e", False),  # five words are beyond what counts as a loop
        ("", False),
    ],
)
def test_loops(caption: str, looping: bool) -> None:
    assert is_looping(caption.split()) is looping


def test_degenerate_captions_are_reported() -> None:
    captions = ["a man"] * 6 + ["", "a a a a", "two dogs", "a red bike", "the sea", "a tree"]
    scores = caption_scores(captions, [["a man"]] * 12)
    assert scores.degenerate.same == tuple(range(6))
    assert scores.degenerate.empty == (6,)
    assert scores.degenerate.looping == (7,)
    assert scores.metrics()["degenerate_share"] == pytest.approx(8 / 12)
    notes = " ".join(scores.outcome().notes)
    assert "6 of 12 captions are the same: 'a man'" in notes
    assert "1 of 12 captions are empty" in notes
    assert "loop" in notes
    same = caption_scores(["a man"] * 3, [["a man"]] * 3).outcome()
    assert "all 3 captions are the same" in " ".join(same.notes)


def test_varied_captions_are_not_reported() -> None:
    scores = caption_scores(["a man", "a dog", "the sea"], [["a man"], ["a cat"], ["the sea"]])
    assert scores.degenerate.share == 0
    assert scores.outcome().notes == ()
    single = caption_scores(["a man"], [["a dog"]]).degenerate
    assert (single.share, single.notes()) == (0, ()), "one caption is like no other"


def test_cancelling() -> None:
    def cancel(share: float, doing: str) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        caption_scores(["a"], [["a"]], cancel)


def test_java_metrics_run_or_give_the_reason() -> None:
    scores = java_metrics.java_metrics(GOLDEN["captions"], GOLDEN["references"])
    for name, reason in java_metrics.missing_requirements().items():
        if reason:
            assert f"{name} was not computed: {reason}." in scores.notes
            assert name not in scores.values
        else:
            assert len(scores.per_caption[name]) == len(GOLDEN["captions"])
    if "METEOR" in scores.values:
        assert scores.values["METEOR"] == pytest.approx(GOLDEN["scores"]["METEOR"], abs=1e-6)


def test_java_scores_join_the_outcome() -> None:
    scores = caption_scores(["a cat", "a dog"], [["a cat"], ["a cow"]])
    java = java_metrics.JavaScores({"METEOR": 0.3}, {"METEOR": np.array([0.5, 0.1])}, ("SPICE was not computed: why.",))
    outcome = scores.outcome(java)
    assert outcome.metrics["METEOR"] == outcome.per_query["METEOR"].values.mean()
    assert outcome.notes == ("SPICE was not computed: why.",)


def test_without_java_the_reason_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert java_metrics.missing_requirements() == {"METEOR": "Java is not installed", "SPICE": "Java is not installed"}
