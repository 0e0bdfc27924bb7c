"""Another user's run folder with code: listing, reading, opening and resuming the run executes none of that code.

The planted code leaves a trace when it runs. Each entry point is tried with a copy in ``code/`` that has the right
digest, as another user's trainer leaves it, and with paths and links out of the folder.
"""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest

import core
from core.__main__ import main
from core.checkpoint.opening import open_model
from core.cli.local_runs import resume_local_run
from core.spec.chain import Chain, ChainStage, write_chain
from core.spec.config import read_config
from core.spec.errors import UserError
from core.spec.run.code import CodeError, CodeNotAllowed, allow, digest_of
from core.spec.run.folder import RunDir
from core.training.train import train
from core.worker.server import Worker
from tests.core.custom.written import keep_trained, objective, put_back, run_of, train_with

PLANTED = """
from pathlib import Path
Path({trace!r}).touch()

class Loss(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
    def forward(self, student): return (self.scale * student.text).mean()

class Rule:
    def update(self, teacher, student): pass

def build(model):
    return model
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign")

    def train_planted(work: Path) -> None:
        settings = ("towers.build=mine.py:build", "teacher.kind=mine.py:Rule", objective("Loss"))
        assert train_with(work, PLANTED.format(trace=str(work / "trace")), *settings) == 0
        (work / "mine.py").unlink()
        (work / "trace").unlink()

    return keep_trained(folder, train_planted)


@pytest.fixture
def foreign(kept: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """Another user's run: this user has never run its code, and does not have the original file."""
    return put_back(kept, monkeypatch)


@pytest.fixture
def trace(kept: Path) -> Path:
    """Exists once the planted code has run."""
    return kept / "work" / "trace"


def test_foreign_code_never_runs_on_open_evaluate_or_resume(
    foreign: RunDir, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = str(foreign.path)
    with pytest.raises(CodeNotAllowed, match=r"mine\.py \(sha256 [0-9a-f]{12}\)\. Read the code, then allow it"):
        open_model(name)
    pairs = str(foreign.path.parent / "pairs" / "val.csv")
    assert main(["evaluate", name, "--data", pairs, "--task", "retrieval"]) == 1
    assert main(["index", name, pairs, str(foreign.path.parent / "index")]) == 1
    assert main(["runs", "show", name]) == 0
    assert main(["resume", name]) == 1
    with pytest.raises(CodeError):
        resume_local_run(foreign)
    begun = RunDir(foreign.path.parent / "begun")
    shutil.copytree(foreign.path / "code", begun.path / "code")
    with pytest.raises(CodeNotAllowed):
        train(read_config(foreign.config), begun)
    assert "--allow-code" in capsys.readouterr().err
    assert not trace.exists()


def test_a_worker_names_the_copies_and_opens_the_model_once_they_are_allowed(foreign: RunDir, trace: Path) -> None:
    copy = foreign.path / "code" / "mine.py"
    request = {"do": "caption_open", "id": 1, "model": str(foreign.path)}

    def failed() -> dict[str, object]:
        replies = io.StringIO()
        Worker(io.StringIO(), replies)._answer(request)
        (answer,) = [one for one in map(json.loads, replies.getvalue().splitlines()) if one["event"] == "failed"]
        return dict(answer)

    digest = digest_of(copy.read_bytes())
    assert failed()["code"] == {digest: str(copy.absolute())}
    assert not trace.exists()
    allow([digest])
    assert "code" not in failed(), "the model is opened, and then refused because it has no decoder"
    assert trace.exists()


def test_foreign_code_runs_once_allowed(
    foreign: RunDir, trace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("core.spec.run.code._everything_allowed", False)  # as it was, after the test
    pairs = str(foreign.path.parent / "pairs" / "val.csv")
    assert main(["evaluate", str(foreign.path), "--data", pairs, "--task", "retrieval", "--allow-code"]) == 0
    assert trace.exists()
    assert main(["export", str(foreign.path), str(foreign.path.parent / "exported")]) == 1
    assert "has custom towers" in capsys.readouterr().err


def test_opening_a_network_without_custom_towers_needs_no_code(
    tmp_path: Path, user_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head of a loss is not loaded, since only training needs it."""
    monkeypatch.chdir(tmp_path)
    trace = tmp_path / "trace"
    assert train_with(tmp_path, PLANTED.format(trace=str(trace)), objective("Loss")) == 0
    (tmp_path / "mine.py").unlink()
    trace.unlink()
    shutil.rmtree(user_folders / "sdgui")
    assert open_model(str(run_of(tmp_path).path)).network.heads.keys() == set()
    assert not trace.exists()


def test_a_copy_must_be_a_file_in_the_code_folder(foreign: RunDir, trace: Path) -> None:
    outside = foreign.path / "planted.py"
    shutil.copyfile(foreign.path / "code" / "mine.py", outside)
    allow([digest_of(outside.read_bytes())])
    index = foreign.path / "code" / "index.json"
    text = index.read_text()
    for place in ("../planted.py", str(outside), "sub/planted.py", "..", "", "con\0.py"):
        index.write_text(text.replace('"mine.py"', json.dumps(place)))
        with pytest.raises(UserError, match=r"index\.json"):
            open_model(str(foreign.path))
    assert not trace.exists()


def test_a_link_out_of_the_folder_is_refused(foreign: RunDir, trace: Path) -> None:
    copy, outside = foreign.path / "code" / "mine.py", foreign.path.parent / "outside.py"
    copy.rename(outside)
    copy.symlink_to(outside)
    allow([digest_of(outside.read_bytes())])
    with pytest.raises(UserError, match="is a link out of"):
        open_model(str(foreign.path))
    assert not trace.exists()


def test_a_copy_that_does_not_match_its_index_is_refused(foreign: RunDir, trace: Path) -> None:
    copy = foreign.path / "code" / "mine.py"
    allow([digest_of(copy.read_bytes())])
    copy.write_text(copy.read_text() + "\n")
    with pytest.raises(UserError, match=r"mine\.py was changed after the run began"):
        open_model(str(foreign.path))
    assert not trace.exists()


def test_a_module_that_a_foreign_config_names_is_not_imported(
    foreign: RunDir, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a module beside it nor an installed one that could run commands."""
    shutil.copyfile(foreign.path / "code" / "mine.py", tmp_path / "planted_module.py")
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("planted_module:build", "os:system"):
        for path in (foreign.config, *foreign.checkpoints.glob("*/checkpoint.json")):
            raw = json.loads(path.read_text())
            raw.get("config", raw)["towers"]["build"] = module
            path.write_text(json.dumps(raw))
        with pytest.raises(CodeError, match=f"{module.partition(':')[0]} is not an installed module here, and"):
            open_model(str(foreign.path))
        with pytest.raises(CodeError):
            resume_local_run(foreign)
    assert not trace.exists()


def test_a_foreign_chain_runs_no_file_that_its_stages_name(tmp_path: Path) -> None:
    """Not even an existing file, whose path may have been guessed."""
    planted, trace = tmp_path / "planted.py", tmp_path / "trace"
    planted.write_text(f"from pathlib import Path\nPath({str(trace)!r}).touch()\ndef build(model): return model\n")
    config = core.preset("clip", "tiny", {"towers.build": f"{planted}:build", "data.train": "x.csv"})
    stage = ChainStage(name="first", config=config)
    first = write_chain(tmp_path / "chain", Chain(name="chain", stages=[stage]))
    with pytest.raises(CodeError, match=r"you have not run .*planted\.py before"):
        resume_local_run(RunDir(first))
    assert not trace.exists()
