"""``python -m core evaluate`` on a real small run: its numbers, its JSON, and what bad input gets."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from core.__main__ import main
from core.checkpoint.opening import Model, open_model
from core.data.dataset import open_dataset
from core.data.errors import DataError
from core.data.views.making import centre_view
from core.evaluation.evaluate import Request, evaluate
from core.evaluation.request import DATA_DIGEST
from core.inference.encoder import UNPROJECTED, encode_dataset, encode_layers
from core.metrics.classification.labels import index_labels
from core.metrics.classification.linear_probe import linear_probe
from core.metrics.classification.logistic import ProbeData
from core.model.towers.towers import resolve_architecture
from core.spec.config import override
from core.spec.run.events import Evaluated, EventReader
from core.spec.run.folder import RunDir
from core.training.train import train
from tests.core.labelled import write, write_labelled
from tests.core.variants import variant_config

RETRIEVAL = ("--data", "VAL", "--task", "retrieval")
ZERO_SHOT = ("RUN", "--data", "VAL", "--task", "zero-shot", "--label")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunDir]:
    folder = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDGUI_CACHE_DIR", str(folder / "cache"))
        train_data, val_data = write_labelled(folder / "pairs")
        config = override(
            variant_config("sd-clip-every-step"),
            [f"data.train={train_data}", f"data.val={val_data}", "optim.batch_size=12", "optim.epochs=2"],
        )
        config = override(config, ["runtime.precision=bf16"])  # every number is in fp32 none the less
        run = RunDir(folder / "run")
        train(config, run, quiet=True)
        yield run


@pytest.fixture(scope="module")
def loaded(run: RunDir) -> dict[str, Model]:
    return {weights: open_model(f"{run.path}@last", weights) for weights in ("student", "teacher")}


@pytest.fixture(scope="module")
def val(loaded: dict[str, Model]) -> str:
    return loaded["student"].data.val


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["evaluate", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one message that a refused request gets; nothing is on stdout."""
    assert main(["evaluate", *arguments]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return said.err.rpartition("error: ")[2].strip()


def features(loaded: dict[str, Model], source: str, weights: str) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Colour, embedding and feature before the projection of each image, one image at a time."""
    model = loaded[weights]
    network = model.network
    data = open_dataset(source, model.data, network.image_size, network.towers.tokenize)
    encoded = encode_dataset(network, data, model.runtime, 1, lambda *_: None)
    rows, embeddings = encoded.rows, encoded.images
    images = [centre_view(data.image(row), network.image_size)[None] for row in rows.tolist()]
    states = torch.cat([encode_layers(network, one, model.runtime, [UNPROJECTED])[UNPROJECTED] for one in images])
    return [data.labels(row)["colour"] for row in rows.tolist()], embeddings, states


@pytest.mark.parametrize("weights", ["student", "teacher"])
def test_retrieval_matches_the_log_of_the_run(
    run: RunDir, val: str, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logged = [event for event in EventReader(run.events).read_all() if isinstance(event, Evaluated)][-1].values
    model = f"{run.path}@last"
    found = report(capsys, model, "--data", val, "--task", "retrieval", "--weights", weights, "--json")
    assert (found["subject"]["weights"], found["subject"]["precision"]) == (weights, "fp32")
    assert found["samples"] == 12
    assert len(found["metrics"]) > 6
    for name, value in found["metrics"].items():
        assert value == pytest.approx(logged[f"val/{weights}/{name}"], abs=1e-9), name


def test_features_before_the_projection_project_to_the_embedding(loaded: dict[str, Model], val: str) -> None:
    _, embeddings, states = features(loaded, val, "student")
    projected = states @ loaded["student"].network.towers.clip.visual.proj.detach()
    assert torch.allclose(torch.nn.functional.normalize(projected, dim=1), embeddings, atol=1e-5)
    assert not torch.allclose(states.norm(dim=1), torch.ones(len(states)), atol=1e-2)


def test_zero_shot_matches_a_plain_loop(
    run: RunDir, loaded: dict[str, Model], val: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    templates = tmp_path / "mine.txt"
    templates.write_text("a {} thing\nit is {}\n", encoding="utf-8")
    arguments = [f"{run.path}@last", "--data", val, "--task", "zero-shot", "--label", "colour"]
    found = report(capsys, *arguments, "--templates", str(templates), "--weights", "student", "--json")
    network = loaded["student"].network
    truth, embeddings, _ = features(loaded, val, "student")
    classes = {}
    for name in sorted(set(truth)):
        total = torch.zeros(embeddings.shape[1])
        for template in (f"a {name} thing", f"it is {name}"):
            vector = network.encode_texts(network.towers.tokenize([template])).detach()[0]
            total += vector / vector.norm()
        classes[name] = total / total.norm()
    taken = [max(classes, key=lambda name: float(image @ classes[name])) for image in embeddings]
    hits = [guess == true for guess, true in zip(taken, truth, strict=True)]
    assert found["metrics"]["acc1"] == pytest.approx(sum(hits) / len(hits), abs=1e-6)
    assert found["per_query"]["acc1"]["values"] == [float(hit) for hit in hits]
    assert found["details"]["classes"] == sorted(classes)
    assert found["details"]["templates"] == ["a {} thing", "it is {}"]


def test_the_linear_probe_is_fitted_before_the_projection_on_training_data(
    run: RunDir, loaded: dict[str, Model], val: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"{run.path}@last", "--data", val, "--task", "linear-probe", "--label", "colour"]
    found = report(capsys, *arguments, "--weights", "teacher", "--json")
    data = []
    for source in (loaded["student"].data.train, val):
        colours, _, states = features(loaded, source, "teacher")
        data.append(ProbeData(states, index_labels(colours)))
    expected = linear_probe(data[0], data[1])
    assert found["metrics"]["acc1"] == pytest.approx(expected.test.metrics()["acc1"], abs=1e-6)
    assert found["details"]["C"] == pytest.approx(expected.probe.C)
    assert found["details"]["layer"] == "before the projection"
    assert any("trained on 36 images" in note for note in found["notes"])


def test_knn_matches_a_plain_loop(
    run: RunDir, loaded: dict[str, Model], val: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"{run.path}@last", "--data", val, "--task", "knn", "--label", "colour", "--weights", "student"]
    found = report(capsys, *arguments, "--json")
    names, _, train_states = features(loaded, loaded["student"].data.train, "student")
    truth, _, states = features(loaded, val, "student")
    hits = []
    for state, true in zip(states, truth, strict=True):
        cosines = torch.nn.functional.cosine_similarity(state[None].double(), train_states.double())
        votes: dict[str, float] = defaultdict(float)
        for place in cosines.argsort(descending=True)[:20].tolist():
            votes[names[place]] += float(torch.exp(cosines[place] / 0.07))
        hits.append(float(max(votes, key=votes.__getitem__) == true))
    assert found["per_query"]["acc1"]["values"] == hits


def test_the_table_goes_to_stdout_and_progress_to_stderr(
    run: RunDir, val: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path))  # else another test may have encoded these images
    assert main(["evaluate", str(run.path), "--data", val, "--task", "zero-shot", "--label", "shape"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"zero-shot of {run.path}@step-")
    assert re.search(r"\((student|teacher)\)", said.out.splitlines()[0]), (
        "the network that was better at the best checkpoint"
    )
    assert said.out.splitlines()[0].endswith("samples, fp32")
    assert "acc1" in said.out
    assert "encoding images" in said.err
    assert "encoding images" not in said.out


def test_an_open_clip_model_from_scratch_is_reported(val: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["open_clip:sd-tiny", "--data", val, "--task", "zero-shot", "--label", "shape", "--json"]
    first = report(capsys, *arguments)
    assert "sd-tiny has random weights" in first["notes"][0]
    assert first["subject"]["model"] == "sd-tiny"
    assert report(capsys, *arguments) == first


def test_a_run_in_open_clips_formats_equals_the_run(
    run: RunDir, loaded: dict[str, Model], val: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the weights of an architecture, and as a folder saved by open_clip."""
    architecture = {"model_cfg": resolve_architecture("sd-tiny"), "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(architecture), encoding="utf-8")
    save_file(loaded["student"].network.towers.clip.state_dict(), tmp_path / "open_clip_model.safetensors")
    request = ["--data", val, "--task", "retrieval", "--json"]
    best = report(capsys, str(run.path), *request)
    last = report(capsys, f"{run.path}@last", "--weights", "student", *request)
    for name, ours in ((f"open_clip:sd-tiny,{run.path}", best), (str(tmp_path), last)):
        theirs = report(capsys, name, *request)
        assert theirs["metrics"] == pytest.approx(ours["metrics"])
        assert theirs["notes"] == ours["notes"]
    assert theirs["subject"]["model"] == str(tmp_path)


def test_compare_gives_paired_differences(
    run: RunDir, val: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for weights in ("student", "teacher"):
        request = [f"{run.path}@last", "--data", val, "--task", "retrieval", "--weights", weights, "--json"]
        found = report(capsys, *request)
        files.append(tmp_path / f"{weights}.json")
        files[-1].write_text(json.dumps(found), encoding="utf-8")
    a, b = (json.loads(file.read_text(encoding="utf-8"))["metrics"] for file in files)
    both = report(capsys, "--compare", *map(str, files), "--json")
    for name, one in both["differences"].items():
        assert one["value"] == pytest.approx(a[name] - b[name], abs=1e-9), name
        assert one["interval"]["low"] <= one["value"] <= one["interval"]["high"]
    assert "text_to_image_R@1" in both["differences"]
    assert main(["evaluate", "--compare", *map(str, files)]) == 0
    assert "A minus B" in capsys.readouterr().out
    other = json.loads(files[1].read_text(encoding="utf-8"))
    files[1].write_text(json.dumps(other | {"details": other["details"] | {DATA_DIGEST: "other"}}), encoding="utf-8")
    assert "which has other images or labels" in refusal(capsys, "--compare", *map(str, files))


def test_rows_without_a_label_or_an_image_are_skipped_and_reported(
    run: RunDir, loaded: dict[str, Model], val: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = Path(val).parent
    table = list(csv.reader(Path(loaded["student"].data.train).read_text(encoding="utf-8").splitlines()))
    table[1][2] = ""
    (pairs / "broken.png").write_bytes(b"no image")
    holes = write(pairs / "holes.csv", [*table, ["broken.png", "a red circle", "red", "circle"]])
    found = report(capsys, str(run.path), "--data", str(holes), "--task", "zero-shot", "--label", "colour", "--json")
    assert found["samples"] == 35
    assert "1 of 36 rows have no label and were skipped." in found["notes"]
    assert any(note.startswith(f"1 rows of {holes} cannot be used") and "broken.png" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*ZERO_SHOT, "size"], "no label column 'size'; available: colour, shape."),
        (["RUN", "--data", "VAL", "--task", "knn"], "several label columns; choose one with --label: colour, shape."),
        (["RUN", "--data", "VAL", "--task", "sing"], "unknown task 'sing'; choose one of zero-shot,"),
        (["RUN@99", *RETRIEVAL], "has no checkpoint '99'; available: best, last, step-"),
        (["nowhere", *RETRIEVAL], "there is no model 'nowhere'; specify a run folder, RUN@STEP"),
        (["open_clip:ViT-B-33", *RETRIEVAL], "there is no architecture 'ViT-B-33'; did you mean"),
        (["open_clip:sd-tiny,gone", *RETRIEVAL], "'gone' is neither a file, nor a folder, nor a tag"),
        (["open_clip:sd-tiny", "--weights", "teacher", *RETRIEVAL], "leave out --weights teacher"),
        (["open_clip:sd-tiny", "--data", "VAL", "--task", "knn"], "knn needs labelled training data; pass"),
        (["RUN", "--data", "/gone.csv", "--task", "retrieval"], "There is no data at /gone.csv"),
        ([*ZERO_SHOT, "shape", "--templates", "songs"], "bundled prompt sets: art,"),
        (["RUN", "--task", "retrieval"], "specify a MODEL, --data SOURCE and --task TASK"),
        (["--compare", "/gone.json", "/gone.json"], "cannot read the report"),
        (
            ["RUN", "--data", "BARE", "--task", "zero-shot"],
            "has no labels; add a column with the class of each",
        ),
        (["RUN", "--data", "VAL", "--task", "linear-probe", "--shots", "1,few"], "'few' is not a number of images"),
    ],
)
def test_failed_measurements_are_user_errors(
    run: RunDir, val: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    named = {"RUN": str(run.path), "VAL": val, "BARE": str(Path(val).with_name("val.csv"))}
    filled = [re.sub("RUN|VAL|BARE", lambda found: named[found[0]], argument) for argument in arguments]
    assert message in refusal(capsys, *filled)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("kind", ["thing"], "needs at least two classes (there is only 'thing'); check the label column."),
        ("colour", ["purple", "orange"], "none of the 2 labels (such as 'orange') is one of the 4 classes"),
        ("colour", [""], "none of the 12 rows has a label"),
    ],
)
def test_unusable_labels(
    run: RunDir, val: str, column: str, values: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(csv.reader(Path(val).read_text(encoding="utf-8").splitlines()))[1:]
    table = [[*row[:2], values[i % len(values)]] for i, row in enumerate(rows)]
    other = write(Path(val).with_name("other.csv"), [["filepath", "title", column], *table])
    task = "zero-shot" if column == "kind" else "knn"
    said = refusal(capsys, str(run.path), "--data", str(other), "--task", task, "--label", column)
    assert message in said


def test_retrieval_on_mostly_unreadable_data_is_refused(loaded: dict[str, Model], val: str, tmp_path: Path) -> None:
    """The same share that training would not have accepted."""
    rows = list(csv.reader(Path(val).read_text(encoding="utf-8").splitlines()))
    for number in range(len(rows)):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    good = Path(val).parent / rows[1][0]
    (tmp_path / "good.png").write_bytes(good.read_bytes())
    table = [["filepath", "title"], ["good.png", "a red circle"], *([f"{n}.png", "nothing"] for n in range(len(rows)))]
    holes = write(tmp_path / "holes.csv", table)
    request = Request(data=str(holes), task="retrieval")
    with pytest.raises(DataError, match="rows of"):
        evaluate(loaded["student"], request, lambda *_: None, lambda _line: None)
