"""The linear probe against scikit-learn called directly, the search of C, saving, few-shot, bad input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from core.metrics.classification.few_shot import FewShotPoint, draw_shots, few_shot, few_shot_outcome
from core.metrics.classification.labels import Labels
from core.metrics.classification.linear_probe import C_GRID, classify_with, linear_probe, search_C, stratified_split
from core.metrics.classification.logistic import ProbeData, ProbeSettings
from core.metrics.classification.probe import Probe, load_probe, save_probe
from core.metrics.inputs import EvaluationError

DIGITS = tuple(str(digit) for digit in range(10))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of the BLAS library only wait for each other on problems of this size."""
    with threadpool_limits(1):
        yield


def digits(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    return x[order] / 16, y[order]


def data(x: np.ndarray, y: np.ndarray, classes: tuple[str, ...] = DIGITS) -> ProbeData:
    features = torch.from_numpy(np.asarray(x)).float()
    return ProbeData(features, Labels(classes, torch.arange(len(y)), torch.from_numpy(np.asarray(y)).long()))


def splits(seed: int = 0) -> tuple[ProbeData, ProbeData, ProbeData]:
    x, y = digits(seed)
    return data(x[:900], y[:900]), data(x[900:1200], y[900:1200]), data(x[1200:], y[1200:])


@pytest.mark.parametrize("standardise", [False, True])
def test_digits_equal_scikit_learn_called_directly(standardise: bool) -> None:
    train, val, test = splits()
    result = linear_probe(train, test, val, ProbeSettings(standardise=standardise))
    x, y = digits()
    model = LogisticRegression(C=result.probe.C, max_iter=1000)
    scaler = StandardScaler().fit(x[:1200]) if standardise else None
    seen, unseen = (scaler.transform(part) if scaler else part for part in (x[:1200], x[1200:]))
    model.fit(seen, y[:1200])
    assert result.test.predictions.tolist() == model.predict(unseen).tolist()
    np.testing.assert_allclose(
        result.probe.probabilities(test.features).numpy(), model.predict_proba(unseen), atol=1e-5
    )
    assert result.test.metrics()["acc1"] == pytest.approx(model.score(unseen, y[1200:]), abs=1e-6)


def test_the_search_follows_the_published_steps() -> None:
    train, val, _ = splits()
    (x, y), (val_x, val_y) = train.arrays("training"), val.arrays("validation")
    C, curve = search_C(x, y, val_x, val_y, ProbeSettings())
    tried = [float(point[0]) for point in curve]
    places = [int(np.argmin(abs(np.log(C_GRID) - np.log(one)))) for one in tried]
    assert len(C_GRID) == 97
    assert set(range(0, 97, 16)) <= set(places)
    assert 7 < len(places) <= 15
    peak = tried.index(C)
    assert curve[peak][1] == max(accuracy for _, accuracy in curve)
    assert {places[peak] - 1, places[peak] + 1} & set(range(97)) <= set(places)  # down to eight steps a decade
    for one, accuracy in curve:
        plain = LogisticRegression(C=one, max_iter=1000).fit(x, y).score(val_x, val_y)
        assert accuracy == pytest.approx(plain, abs=1e-6)


def test_without_validation_data_some_training_data_are_held_out() -> None:
    train, _, test = splits()
    result = linear_probe(train, test)
    assert result.test.metrics()["acc1"] > 0.9
    assert any("no validation data" in note and "of the 900 training rows" in note for note in result.notes)
    kept, held = stratified_split(np.array([0] * 10 + [1] * 5 + [2]), 0.2, seed=0)
    assert sorted([*kept, *held]) == list(range(16))
    assert [int((held < 10).sum()), int(((held >= 10) & (held < 15)).sum()), int((held == 15).sum())] == [2, 1, 0]


def test_two_classes_give_two_rows_of_weights() -> None:
    x, y = digits()
    few = y < 2
    train = data(x[few][:150], y[few][:150], ("zero", "one"))
    test = data(x[few][150:], y[few][150:], ("zero", "one"))
    result = linear_probe(train, test)
    assert result.probe.weight.shape == (2, 64)
    model = LogisticRegression(C=result.probe.C, max_iter=1000).fit(x[few][:150], y[few][:150])
    np.testing.assert_allclose(
        result.probe.probabilities(test.features).numpy(), model.predict_proba(x[few][150:]), atol=1e-5
    )


def test_a_probe_round_trips(tmp_path: Path) -> None:
    train, val, test = splits()
    settings = ProbeSettings(standardise=True, layer="before projection", model_digest="abc")
    result = linear_probe(train, test, val, settings)
    file = save_probe(result.probe, tmp_path / "sub" / "Ziffern 1")
    assert sorted(one.suffix for one in file.parent.iterdir()) == [".json", ".safetensors"]
    for path in (file, file.with_suffix(".json")):
        again = load_probe(path)
        assert (again.classes, again.C, again.layer, again.standardised) == (
            DIGITS,
            result.probe.C,
            "before projection",
            True,
        )
        assert classify_with(again, test).predictions.tolist() == result.test.predictions.tolist()
    again.check_model("abc", "before projection")
    with pytest.raises(EvaluationError, match="belongs to the model abc, not to xyz"):
        again.check_model("xyz", "before projection")
    Probe(torch.zeros(2, 4), torch.zeros(2), ("a", "b"), C=1.0).check_model("xyz", "embedding")
    with pytest.raises(EvaluationError, match="'before projection', not on 'embedding'"):
        again.check_model("abc", "embedding")
    with pytest.raises(EvaluationError, match=r"trained on 64 features \(before projection\), but these have 8"):
        again.logits(torch.zeros(3, 8))


def test_a_probe_with_one_file_of_another_probe_is_refused(tmp_path: Path) -> None:
    cats, dogs = (Probe(torch.full((2, 4), value), torch.zeros(2), ("a", "b"), C=1.0) for value in (1.0, 2.0))
    file, other = save_probe(cats, tmp_path / "cats"), save_probe(dogs, tmp_path / "dogs")
    other.replace(file)  # as if a save had been killed between the two files
    with pytest.raises(EvaluationError, match="do not belong together"):
        load_probe(file)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_saving_a_probe_never_overwrites_another(tmp_path: Path, suffix: str) -> None:
    probe = Probe(torch.zeros(10, 4), torch.zeros(10), DIGITS, C=1.0)
    there = (tmp_path / "probe").with_suffix(suffix)
    there.write_text("mine")
    with pytest.raises(EvaluationError, match=f"probe{suffix} already exists; choose"):
        save_probe(probe, tmp_path / "probe")
    assert [path.name for path in tmp_path.iterdir()] == [there.name]
    assert there.read_text() == "mine"
    if suffix == ".json":  # the JSON of another program is not replaced either
        with pytest.raises(EvaluationError, match="does not describe a probe"):
            save_probe(probe, tmp_path / "probe", replace=True)
        assert there.read_text() == "mine"
    else:
        assert load_probe(save_probe(probe, tmp_path / "probe", replace=True)).classes == DIGITS


def test_a_damaged_probe_raises_a_user_error(tmp_path: Path) -> None:
    probe = Probe(torch.zeros(10, 4), torch.zeros(10), DIGITS, C=1.0)
    file = save_probe(probe, tmp_path / "probe")
    facts = file.with_suffix(".json")
    whole = facts.read_text()
    facts.write_text(whole.replace('"9"\n', '"9", "10"\n'))
    with pytest.raises(EvaluationError, match="do not belong together"):
        load_probe(file)
    facts.write_text(whole.replace('"version": 1', '"version": 9'))
    with pytest.raises(EvaluationError, match="later version"):
        load_probe(file)
    facts.write_text("[]")
    with pytest.raises(EvaluationError, match=r"probe\.json: the content: .*, not \[\]"):
        load_probe(file)
    facts.write_text(whole)
    file.write_bytes(b"junk")
    with pytest.raises(EvaluationError, match="is not a safetensors file"):
        load_probe(file)
    file.unlink()
    with pytest.raises(EvaluationError, match="cannot read the probe"):
        load_probe(file)
    with pytest.raises(EvaluationError, match="cannot write the probe"):
        save_probe(probe, facts / "probe")


def test_a_fit_can_be_cancelled() -> None:
    train, val, test = splits()
    said: list[tuple[float, str]] = []

    def cancel(share: float, doing: str) -> None:
        said.append((share, doing))
        if share > 0.5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        linear_probe(train, test, val, progress=cancel)
    shares = [share for share, _ in said]
    assert shares == sorted(shares)
    assert said[0][1].startswith("fitting with C = 1e-06")


def test_few_shot_improves_with_shots_and_has_an_interval() -> None:
    train, val, test = splits()
    points = few_shot(train, test, val, shots=(16, 1), draws=2)
    assert [point.shots for point in points] == [1, 16]
    assert points[0].mean + 0.1 < points[1].mean < 1
    for point in points:
        assert len(point.accuracies) == len(point.C) == 2
        ends = point.interval
        assert ends is not None
        assert ends.low < point.mean < ends.high
    outcome = few_shot_outcome(points, samples=len(test.labels.rows))
    assert outcome.metrics["acc1@16"] == points[1].mean
    assert few_shot(train, test, val, shots=[1], draws=1)[0].interval is None


def test_the_interval_of_few_draws_stays_within_0_and_1() -> None:
    ends = FewShotPoint(1, np.array([0.1, 0.9]), (1.0, 1.0), 0).interval
    assert ends is not None
    assert (ends.low, ends.high) == (0.0, 1.0)


def test_an_unconverged_fit_and_a_search_at_its_border_are_noted() -> None:
    x = np.random.default_rng(0).normal(size=(60, 4))
    y = (x[:, 0] > 0).astype(np.int64)
    far = data(x + 100 * y[:, None], y, ("a", "b"))  # so easy that the smallest C does as well as any
    notes = linear_probe(far, far, far).notes
    assert "the best C, 1e-06, is at the end of the searched range." in notes
    assert not any("did not converge" in note for note in notes)
    near = data(x, (x[:, 0] + x[:, 1] / 5 > 0).astype(np.int64), ("a", "b"))
    cut = linear_probe(near, near, near, ProbeSettings(max_iterations=1)).notes
    assert any("did not converge within 1 iterations" in note for note in cut)


def test_shots_are_drawn_per_class_and_nested() -> None:
    _, y = digits()
    few, more = draw_shots(y, 2, seed=3), draw_shots(y, 8, seed=3)
    assert np.bincount(y[few]).tolist() == [2] * 10
    assert set(few) <= set(more)
    assert set(few) != set(draw_shots(y, 2, seed=4))
    assert len(draw_shots(np.array([0, 0, 0, 1]), 2, seed=0)) == 3
    thin = data(np.eye(6), np.array([0, 0, 0, 0, 1, 1]), ("a", "b"))
    notes = few_shot_outcome(few_shot(thin, thin, thin, shots=[4], draws=1), samples=6).notes
    assert notes == ("1 classes have fewer than 4 training images; all were used.",)


def test_small_and_missing_classes_are_noted() -> None:
    x, y = digits()
    thin = np.concatenate([np.flatnonzero(y[:900] < 5), np.flatnonzero(y[:900] == 7)[:1]])
    train, test = data(x[:900][thin], y[:900][thin]), data(x[1200:], y[1200:])
    result = linear_probe(train, test)
    assert any("1 classes have only one training image, such as '7'" in note for note in result.notes)
    assert any("4 classes of the test data have no training image, such as '5'" in note for note in result.notes)
    assert result.probe.classes == ("0", "1", "2", "3", "4", "7")
    assert not {5, 6, 8, 9} & set(result.test.predictions.tolist())
    assert len(result.test.predictions) == len(y[1200:])


def test_bad_input_raises_a_user_error() -> None:
    train, val, test = splits()
    x, y = digits()
    with pytest.raises(EvaluationError, match="all 3 training rows have the class '4'"):
        linear_probe(data(x[:3], np.array([4, 4, 4])), test)
    with pytest.raises(EvaluationError, match="validation data must be indexed by the same classes"):
        linear_probe(train, test, data(x[:3], np.array([0, 1, 1]), ("a", "b")))
    with pytest.raises(EvaluationError, match="only one image; add validation data"):
        linear_probe(data(x[:2], np.array([0, 1])), test)
    with pytest.raises(EvaluationError, match="test features have"):
        linear_probe(train, data(x[:5, :32], y[:5]))
    broken = x.copy()
    broken[7, 3] = np.nan
    with pytest.raises(EvaluationError, match="training features contain NaN"):
        linear_probe(data(broken[:900], y[:900]), test, val)
    with pytest.raises(EvaluationError, match="at least one draw and one image"):
        few_shot(train, test, val, shots=[4, 0])
    with pytest.raises(EvaluationError, match="the probe has the class '0', but the data does not"):
        classify_with(linear_probe(train, test, val).probe, data(x[:3], np.array([0, 1, 1]), ("a", "b")))


def test_notes_count_the_validation_images_that_the_final_fit_uses() -> None:
    x, y = digits()
    is_nine = y[:900] == 9
    train = data(x[:900][~is_nine], y[:900][~is_nine])
    val, test = data(x[900:1200], y[900:1200]), data(x[1200:], y[1200:])
    assert not any("no training image" in note for note in linear_probe(train, test, val).notes)
    (note,) = [note for note in linear_probe(train, test).notes if "no training image" in note]
    assert "such as '9'" in note
