"""Every option of a verb reaches what it is about, and the exit status says how it ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import core.checkpoint.opening
import core.evaluation.evaluate
import core.evaluation.noise
import core.search.collection
import core.search.index.build
import core.search.results
import core.studies.chain.run
import core.studies.study.queue
import core.training.train
from core.__main__ import main
from core.cli import terminal
from core.evaluation.noise import RankedPair, Ranking
from core.evaluation.report import Report
from core.evaluation.work import Request
from core.metrics.outcome import Outcome, Queries
from core.search.filters import Filter
from core.search.queries import Term
from core.spec.chain import preset_chain
from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.study import StudyRun, StudyStatus

Printed = pytest.CaptureFixture[str]


class Asked:
    """Stands in for a function; remembers what it was asked and gives ``answer``."""

    def __init__(self, answer: Any = None) -> None:
        self.answer, self.calls = answer, list[tuple[tuple[Any, ...], dict[str, Any]]]()

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.calls.append((given, named))
        return self.answer


def test_evaluate_passes_on_every_option(monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    outcome = Outcome(task="knn", samples=2, metrics={"acc1": 0.5}, per_query={"acc1": Queries(np.array([0.0, 1.0]))})
    opened = Asked("the model")
    asked = Asked(Report(core.checkpoint.opening.Subject(model="m", dataset="d"), outcome))
    monkeypatch.setattr(core.checkpoint.opening, "open_model", opened)
    monkeypatch.setattr(core.evaluation.evaluate, "evaluate", asked)
    given = {
        "--data": "data.csv", "--task": "knn", "--weights": "teacher", "--label": "colour", "--train": "train.csv",
        "--val": "val.csv", "--templates": "mine.txt", "--layer": "7", "--k": "5", "--shots": "1, 4", "--draws": "9",
        "--texts": "caption, predicted,", "--rerank": "33",
    }  # fmt: skip
    assert main(["evaluate", "run@best", *(word for option in given.items() for word in option), "--json"]) == 0
    assert opened.calls == [(("run@best", "teacher"), {})]
    (((model, request, *_), _),) = asked.calls
    assert model == "the model"
    assert request == Request(
        data="data.csv", task="knn", label="colour", train="train.csv", val="val.csv", templates="mine.txt", layer="7",
        k=5, shots=(1, 4), draws=9, texts=("caption", "predicted"), rerank=33,
    )  # fmt: skip
    assert json.loads(capsys.readouterr().out)["per_query"]["acc1"]["values"] == [0.0, 1.0], "which --compare needs"


def test_index_passes_on_every_option(monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    asked, moved = Asked(core.search.index.build.Report(added=3)), Asked(7)
    monkeypatch.setattr(core.search.index.build, "build_index", asked)
    monkeypatch.setattr(core.search.index.build, "relocate", moved)
    command = ["index", "m", "images", "index", "--weights", "teacher", "--drop-missing", "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 3
    (((model, source, folder, *_), named),) = asked.calls
    assert (model, source, folder) == ("m", "images", "index")
    assert named == {"weights": "teacher", "drop_missing": True}
    assert main(["index", "index", "--relocate", "old", "new"]) == 0
    assert capsys.readouterr().out == "7 images relocated\n"
    assert moved.calls[0][0][:3] == ("index", "old", "new")
    assert main(["index", "m", "index", "--relocate", "old", "new"]) == 1
    assert "--relocate takes only the index" in capsys.readouterr().err
    assert main(["index", "m", "images"]) == 1
    assert len(moved.calls) == len(asked.calls) == 1


def test_search_passes_on_every_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"")
    row = {"rank": 1, "cosine": 0.25, "softmax": 0.5, "path": "/p.png", "above_cutoff": False, "there": False,
           "duplicates": [1, 2], "caption": "words"}  # fmt: skip
    answer = {"rows": [row], "cutoff": {"cosine": 0.3, "meaning": "chance"}, "notes": ["of the query"]}
    opened = Asked(SimpleNamespace(notes=("of the index",), title="i", how="exact"))
    searched = Asked(answer)
    monkeypatch.setattr(core.search.collection, "open_index", opened)
    monkeypatch.setattr(core.search.results, "Searcher", lambda collection: SimpleNamespace(search=searched))
    command = [
        "search", "index", "--text", "red", "--weight", "2", "--image", str(image), "--minus", "blue", "--minus",
        str(image), "--weight", "0.5", "-k", "7", "--captions", "--prompts", "photo", "--folder", "/a", "--folder",
        "/b", "--label", "kind=x", "--label", "kind=y", "--label", "size=", "--min-size", "2KB", "--after",
        "2024-01-02", "--before", "2024-02-03", "--no-groups", "--model", "m", "--weights", "student",
    ]  # fmt: skip
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "note: of the index" in printed.err
    assert "note: of the query" in printed.err
    assert "-- cut-off: chance" in printed.out
    assert "/p.png  (moved or deleted)  (+2 near-identical)  words" in printed.out
    assert (opened.calls[0][0][0], *opened.calls[0][0][2:]) == ("index", "m", "student")
    (((query, options), _),) = searched.calls
    assert query.prompts == "photo"
    assert query.terms == (
        Term(text="red", weight=2.0), Term(image=str(image)), Term(text="blue", weight=-1.0),
        Term(image=str(image), weight=-0.5),
    )  # fmt: skip
    assert (options.k, options.find, options.group) == (7, "captions", False)
    found: Filter = options.filter
    assert found.folders == ("/a", "/b")
    assert found.labels == {"kind": ("x", "y"), "size": ("",)}
    assert found.min_size == 2048
    assert found.after is not None
    assert found.before is not None
    assert (found.before - found.after) / 86400 == pytest.approx(32, abs=0.1)
    assert main(["search", "index", "--text", "red"]) == 0
    options = searched.calls[-1][0][1]
    assert (options.find, options.group, options.filter) == ("images", True, Filter())
    assert main(["search", "index", "--text", "red", "--label", "kind"]) == 1
    assert "--label kind has no value" in capsys.readouterr().err


def test_study_passes_on_every_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    study = {"name": "s", "steps": 1, "data": {"train": "t.csv"}, "val": "", "arms": [{"name": "a", "preset": "clip"}],
             "measures": [{"name": "m", "task": "retrieval", "data": "train"}]}  # fmt: skip
    (tmp_path / "study.json").write_text(json.dumps(study))
    (tmp_path / "results.md").write_text("the table")
    runs = [StudyRun("a", 0, "runs/a-s0", "done"), StudyRun("a", 1, "runs/a-s1", "failed", "it broke")]
    asked = Asked(StudyStatus(runs=runs))
    monkeypatch.setattr(core.studies.study.queue, "run_study", asked)
    command = ["study", str(tmp_path / "study.json"), str(tmp_path), "--jobs", "3", "--openclipart", "art"]
    assert main(command) == 1, "a run has failed"
    printed = capsys.readouterr()
    assert (printed.out, "failed: a, seed 1: it broke" in printed.err) == ("the table", True)
    given = asked.calls[0][0]
    assert (given[1], given[3], given[5]) == (tmp_path, 3, Path("art"))
    asked.answer = StudyStatus(runs=runs[:1])
    assert main(command) == 0


def test_noise_passes_on_every_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    pairs = tuple(RankedPair(i, f"/{i}.png", f"c{i}", i / 4, i / 4, i + 1, (True, False, None)[i]) for i in range(3))
    asked = Asked(Ranking("m", "d", pairs, 2, 2))
    monkeypatch.setattr(core.evaluation.noise, "rank_pairs", asked)
    assert main(["noise", str(tmp_path), "--data", "d.csv", "--checkpoint", "9", "--weights", "student"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == [
        "3 pairs of d, 2 likely mismatched",
        "precision at 1: 100.0 %, recall 100.0 %, AUC 100.0 %",
    ]
    assert [line.rpartition("png")[2] for line in printed[2:]] == [" mismatched", " clean", ""]
    given = asked.calls[0][0]
    assert (given[0].path, given[1], *given[3:]) == (tmp_path, "d.csv", "9", "student")
    (tmp_path / "ranked.csv").write_text("mine")
    assert main(["noise", str(tmp_path), "--csv", str(tmp_path / "ranked.csv")]) == 1
    assert len(asked.calls) == 1, "refused before anything is computed"
    assert main(["noise", str(tmp_path / "nowhere")]) == 1
    assert "there is no run folder" in capsys.readouterr().err


def test_train_passes_on_every_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    (tmp_path / "train.csv").write_text("filepath,title\n")
    config = override(preset_config("clip", "tiny"), ["data.train=train.csv"])
    (tmp_path / "c.json").write_text(config.to_json())
    monkeypatch.chdir(tmp_path)
    asked = Asked("done")
    monkeypatch.setattr(core.training.train, "train", asked)
    command = ["train", "c.json", "run", "--set", "optim.epochs=2", "seed=4", "--set", "name=x"]
    assert main(command) == 0
    trained, run = asked.calls[0][0]
    assert (trained.optim.epochs, trained.seed, trained.name) == (2, 4, "x")
    assert trained.data.train == str(tmp_path / "train.csv"), "it means the same from any folder"
    assert run.path == Path("run")
    for outcome in ("stopped", "paused"):
        asked.answer = outcome
        assert main(command) == 3
    chain = preset_chain("born-again", "tiny", 2)
    (tmp_path / "chain.json").write_text(chain.to_json())
    staged = Asked("stopped")
    monkeypatch.setattr(core.studies.chain.run, "run_chain", staged)
    assert main(["train", "chain.json", "out", "--set", "seed=7"]) == 3
    assert [stage.config.seed for stage in staged.calls[0][0][0].stages] == [7, 7]
    assert staged.calls[0][0][1].path == Path("out")


def test_presets_are_printed_with_the_requested_size_and_fields(capsys: Printed) -> None:
    assert main(["presets", "clip", "--size", "tiny", "--set", "seed=3"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(
        override(preset_config("clip", "tiny"), ["seed=3"]).to_json()
    )
    assert main(["presets", "born-again", "--chain", "--size", "tiny", "--generations", "4", "--set", "seed=3"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(
        preset_chain("born-again", "tiny", 4).changed(["seed=3"]).to_json()
    )


@pytest.mark.parametrize(
    ("raised", "status", "said"), [(KeyboardInterrupt(), 130, "interrupted"), (BrokenPipeError(), 1, "")]
)
def test_exit_codes_of_verbs(
    raised: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    def end(*_: Any, **__: Any) -> None:
        raise raised

    dropped: list[bool] = []
    monkeypatch.setattr("core.cli.training.preset_names", end)
    monkeypatch.setattr("core.__main__.drop_output", lambda: dropped.append(True))
    assert main(["presets"]) == status
    assert capsys.readouterr().err.strip() == said
    assert bool(dropped) == isinstance(raised, BrokenPipeError)


def test_progress_is_printed_on_change_and_at_intervals(monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    clock = iter([100.0, 101.0, 102.0, 108.0, 109.0])
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    show: Callable[[str, int, int], None] = terminal.periodic_progress(5.0)
    for doing, done in (("reading", 0), ("reading", 1), ("encoding", 1), ("encoding", 2), ("encoding", 3)):
        show(doing, done, 9)
    assert capsys.readouterr().err.splitlines() == ["reading", "encoding 1/9", "encoding 2/9"]


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"sdgui-core {core.__version__}\n"
