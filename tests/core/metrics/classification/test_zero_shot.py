"""Zero-shot classification against plain loops; the cache of classes; kNN and what classifications share."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, top_k_accuracy_score
from torch import Tensor

from core.metrics.classification import accuracy
from core.metrics.classification.accuracy import classify
from core.metrics.classification.labels import Labels, index_labels
from core.metrics.classification.zero_shot import CachedTextEncoder, ClassEmbedder, zero_shot
from core.metrics.inputs import EvaluationError
from core.metrics.statistics import interval

TEMPLATES = ("a photo of a {}.", "an icon of {}", "{}")


class Texts:
    """An encoder that gives each text its own direction, and counts."""

    def __init__(self, width: int = 16) -> None:
        self.width, self.seen = width, []

    def __call__(self, texts: list[str]) -> Tensor:
        self.seen.extend(texts)
        seeds = [int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) for text in texts]
        rows = [3 * torch.randn(self.width, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(rows)


def plain_embedding(name: str, templates: tuple[str, ...]) -> np.ndarray:
    total = np.zeros(16)
    for template in templates:
        one = Texts()([template.replace("{}", name)])[0].double().numpy()
        total += one / np.linalg.norm(one)
    return total / np.linalg.norm(total)


@pytest.mark.parametrize("batch", [1, 4])
def test_class_embeddings_match_a_plain_loop(batch: int) -> None:
    classes = ["cat", "golden_retriever", "Müsli", "👩‍🚒"]
    got = ClassEmbedder(Texts(), TEMPLATES, "m", batch=batch).embed(classes)
    expected = [plain_embedding(name.replace("_", " "), TEMPLATES) for name in classes]
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-6)


def test_a_class_with_several_names_is_their_mean_and_edits_encode_only_new_names() -> None:
    texts = Texts()
    remembered = CachedTextEncoder(texts)
    names = [("cat", "kitten"), ("dog",)]
    got = ClassEmbedder(remembered, TEMPLATES, "m").embed_named(names)
    both = plain_embedding("cat", TEMPLATES) + plain_embedding("kitten", TEMPLATES)
    np.testing.assert_allclose(got[0].numpy(), both / np.linalg.norm(both), atol=2e-3)
    np.testing.assert_allclose(got[1].numpy(), plain_embedding("dog", TEMPLATES), atol=2e-3)
    assert remembered.encoded == 9
    ClassEmbedder(remembered, (*TEMPLATES[:2], "art of a {}."), "m").embed_named([*names[:1], ("puppy",)])
    assert texts.seen[9:] == [
        "art of a cat.",
        "art of a kitten.",
        "a photo of a puppy.",
        "an icon of puppy",
        "art of a puppy.",
    ]
    few = CachedTextEncoder(texts, capacity=2)
    few(["a", "b", "c"])
    few(["c"])
    assert few.encoded == 3
    few(["a"])
    assert few.encoded == 4, "the oldest was forgotten"


def test_nothing_is_encoded_twice(tmp_path: Path) -> None:
    classes = [f"class {i}" for i in range(40)]
    first = ClassEmbedder(Texts(), TEMPLATES, "m", tmp_path)
    expected = first.embed(classes)
    assert first.encoded == 120
    again = ClassEmbedder(Texts(), TEMPLATES, "m", tmp_path)
    assert torch.equal(again.embed(classes[::-1]), expected.flip(0))
    assert again.encoded == 0
    again.embed(["class_3", "new"], keep=False)  # another spelling of class 3
    assert again.encoded == 3
    assert again.embed(["new"]).shape == (1, 16)
    assert again.encoded == 3
    third = ClassEmbedder(Texts(), TEMPLATES, "m", tmp_path)
    third.embed(["new"])
    assert third.encoded == 3  # it was not to be kept


@pytest.mark.parametrize(("digest", "templates"), [("other", TEMPLATES), ("m", TEMPLATES[:1])])
def test_another_model_or_template_shares_no_cache(tmp_path: Path, digest: str, templates: tuple[str, ...]) -> None:
    ClassEmbedder(Texts(), TEMPLATES, "m", tmp_path).embed(["cat", "dog"])
    other = ClassEmbedder(Texts(), templates, digest, tmp_path)
    other.embed(["cat", "dog"])
    assert other.encoded == 2 * len(templates)


def test_a_damaged_cache_is_rebuilt(tmp_path: Path) -> None:
    ClassEmbedder(Texts(), TEMPLATES, "m", tmp_path).embed(["cat", "dog"])
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:50])
    again = ClassEmbedder(Texts(), TEMPLATES, "m", tmp_path)
    again.embed(["cat", "dog"])
    assert again.encoded == 6


def test_encoding_can_be_cancelled() -> None:
    def cancel(share: float, doing: str) -> None:
        if share > 0:
            raise InterruptedError

    embedder = ClassEmbedder(Texts(), TEMPLATES, "m", batch=2)
    with pytest.raises(InterruptedError):
        embedder.embed(["cat", "dog"], progress=cancel)
    assert embedder.embed(["cat", "dog"]).shape == (2, 16)


def example(rows: int = 200, count: int = 7) -> tuple[Tensor, Labels, Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(count, (rows,), generator=generator)
    centres = torch.randn(count, 8, generator=generator)
    features = centres[targets] + 1.5 * torch.randn(rows, 8, generator=generator)
    return features, Labels(tuple(f"c{i}" for i in range(count)), torch.arange(rows), targets), centres


def test_metrics_equal_scikit_learn_and_plain_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.metrics.classification.zero_shot.BLOCK_ROWS", 64)
    features, labels, centres = example()
    result = zero_shot(features, labels, centres)
    cosine = torch.nn.functional.cosine_similarity(features.double()[:, None], centres.double()[None], dim=2).numpy()
    truth, predicted = labels.targets.numpy(), cosine.argmax(axis=1)
    metrics = result.metrics()
    assert metrics["acc1"] == pytest.approx((predicted == truth).mean(), abs=1e-6)
    assert metrics["acc5"] == pytest.approx(top_k_accuracy_score(truth, cosine, k=5), abs=1e-6)
    assert metrics["mean_per_class_recall"] == pytest.approx(balanced_accuracy_score(truth, predicted), abs=1e-6)
    np.testing.assert_array_equal(result.confusion().numpy(), confusion_matrix(truth, predicted))
    softmax = np.exp(100 * cosine) / np.exp(100 * cosine).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(result.probabilities.numpy(), softmax.max(axis=1), atol=1e-5)


def test_mistakes_and_cells_point_to_rows_of_the_source() -> None:
    features, labels, centres = example()
    shifted = Labels(labels.classes, labels.rows[50:], labels.targets[50:])  # the first rows have no label
    result = zero_shot(features, shifted, centres)
    mistakes = result.mistakes(10)
    assert [one.probability for one in mistakes] == sorted((one.probability for one in mistakes), reverse=True)
    for one in mistakes:
        assert one.row >= 50
        assert one.true == labels.classes[int(labels.targets[one.row])] != one.predicted
    first = mistakes[0]
    rows = result.cell(labels.classes.index(first.true), labels.classes.index(first.predicted))
    assert int(rows[0]) == first.row


def test_the_mean_of_the_outcome_is_the_metric_and_has_an_interval() -> None:
    features, labels, centres = example()
    outcome = zero_shot(features, labels, centres).outcome("zero-shot")
    for name, value in outcome.metrics.items():
        assert outcome.per_query[name].values.mean() == pytest.approx(value)
        assert interval(outcome.per_query[name]).low < value < interval(outcome.per_query[name]).high
    assert sum(row["rows"] for row in outcome.details["per_class"]) == 200


def test_a_class_without_rows_does_not_count_in_the_mean() -> None:
    labels = index_labels(["a", "a", "b"], ["a", "b", "never"])
    result = classify(labels, [torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]])])
    assert result.metrics() == {"acc1": pytest.approx(2 / 3), "mean_per_class_recall": 0.75}  # no acc5 below five
    assert [row["class"] for row in result.per_class()] == ["a", "b"]


def test_bad_input_raises_a_user_error(tmp_path: Path) -> None:
    features, labels, centres = example()
    with pytest.raises(EvaluationError, match="8 dimensions, but class embeddings have 5"):
        zero_shot(features, labels, centres[:, :5])
    with pytest.raises(EvaluationError, match="label for row 199, but there are only 199"):
        zero_shot(features[:199], labels, centres)
    features[3] = torch.nan
    with pytest.raises(EvaluationError, match="1 of 200 image features contain NaN"):
        zero_shot(features, labels, centres)
    with pytest.raises(EvaluationError, match=r"expected scores of shape \(200, 7\)"):
        classify(labels, [torch.zeros(200, 6)])
    with pytest.raises(EvaluationError, match="scores for 20 rows, but labels for 200"):
        classify(labels, [torch.zeros(20, 7)])
    with pytest.raises(EvaluationError, match="prompt features contain NaN"):
        ClassEmbedder(lambda texts: torch.full((len(texts), 4), torch.nan), TEMPLATES, "m").embed(["a", "b"])
    with pytest.raises(EvaluationError, match="a class name is empty"):
        ClassEmbedder(Texts(), TEMPLATES, "m").embed(["a", "_"])
    with pytest.raises(EvaluationError, match="at least one prompt template"):
        ClassEmbedder(Texts(), (), "m")
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(EvaluationError, match="cannot write the cache"):
        ClassEmbedder(Texts(), TEMPLATES, "m", blocked).embed(["a"])


def test_a_report_of_very_many_classes_has_no_confusion_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = index_labels(["a", "b", "c"])
    outcome = classify(labels, [torch.eye(3)]).outcome("zero-shot")
    assert outcome.details["confusion"] == torch.eye(3).tolist()
    monkeypatch.setattr(accuracy, "MAX_CONFUSION_CLASSES", 2)
    details = classify(labels, [torch.eye(3)]).outcome("zero-shot").details
    assert "confusion" not in details
    assert len(details["per_class"]) == 3
