"""Without the trainer's packages, actions that need them are refused with the install command."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import pytest
from pytestqt.qtbot import QtBot

from core.spec import installed
from core.spec.children import SOURCE_FOLDER, environment
from core.spec.errors import UserError
from core.spec.failures import sentence
from core.spec.installed import NotInstalled, add_command, missing, need
from core.spec.machines.install import dependencies
from core.spec.presets import preset_config
from sdgui.runs.demo import DemoData
from sdgui.runs.launcher import Launcher
from sdgui.store.records import Place
from sdgui.store.store import Store
from sdgui.worker.client import WorkerClient
from sdgui.worker.replies import Failure

HIDE = (
    "import importlib.abc, sys\n"
    "class Hidden(importlib.abc.MetaPathFinder):\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name.partition('.')[0] in ('torch', 'torchvision', 'open_clip', 'PIL', 'safetensors', 'sklearn', "
    "'scipy', 'faiss', 'huggingface_hub', 'tqdm'):\n"
    "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
    "sys.meta_path.insert(0, Hidden())\n"
)


@pytest.fixture
def window_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the trainer's modules."""

    def find_spec(name: str) -> ModuleSpec | None:
        return None if name in installed.PARTS["train"] else importlib.util.find_spec(name)

    monkeypatch.setattr(installed, "find_spec", find_spec)


@pytest.mark.usefixtures("window_alone")
def test_a_missing_extra_is_named_with_its_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing("train")[0] == "torch"
    assert missing("export") == ()
    with pytest.raises(NotInstalled, match=r"The trainer is not installed .*no module torch.*\[train\]"):
        need("train")
    assert str(SOURCE_FOLDER) in add_command("train")  # a checkout is installed as such
    monkeypatch.setattr(installed, "SOURCE_FOLDER", Path("/nowhere"))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _name: SimpleNamespace(read_text=lambda _file: None))
    assert add_command("train").endswith('"sdgui[train]"')
    (tmp_path / "sdgui 9.whl").touch()
    wheel = (tmp_path / "sdgui 9.whl").as_uri()
    origin = SimpleNamespace(read_text=lambda _file: json.dumps({"url": wheel}))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _name: origin)
    assert add_command("train").endswith(f'"sdgui[train] @ {wheel}"')  # as the window was
    assert add_command().endswith(f'"sdgui @ {wheel}"')
    (tmp_path / "sdgui 9.whl").unlink()
    assert add_command().endswith('"sdgui"')


def test_an_extra_that_cannot_be_imported_is_a_user_error() -> None:
    message = sentence(ModuleNotFoundError("No module named 'faiss'", name="faiss.swigfaiss"))
    assert message is not None
    assert "The trainer is not installed" in message
    other = sentence(ModuleNotFoundError("No module named 'nothing'", name="nothing"))
    assert other is not None
    assert "reinstall" in other


VERBS = [["train", "c.json", "run"], ["export", "open_clip:sd-tiny", "out"], ["index", "run", "data", "out"]]


def test_verbs_without_the_trainer_are_user_errors(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(preset_config("clip", "tiny").to_json(), encoding="utf-8")
    program = HIDE + f"from core.__main__ import main\nsys.exit(sum(map(main, {VERBS!r})))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == len(VERBS)
    lines = done.stderr.splitlines()
    assert len(lines) == len(VERBS)
    assert all(line.startswith("error: The trainer is not installed on this computer") for line in lines)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("window_alone")
def test_the_window_refuses_unsupported_actions_and_leaves_nothing(tmp_path: Path, qtbot: QtBot) -> None:
    store = Store.open(tmp_path)
    launcher, demo = Launcher(store), DemoData(tmp_path / "demo")
    experiment = store.add_experiment(preset_config("clip", "tiny"), "one")
    for begin in (launcher.launch, launcher.enqueue):
        with pytest.raises(UserError, match="The trainer is not installed"):
            begin(experiment.id)
    assert store.runs() == []
    remote_run = launcher.enqueue(experiment.id, place=Place("gpu", ""))  # another machine has a trainer of its own
    assert remote_run.machine == "gpu"
    with qtbot.waitSignal(demo.failed) as failed:
        demo.make()
    assert "The trainer is not installed" in failed.args[0]
    client = WorkerClient()
    with qtbot.waitSignal(client.failed) as refused:
        number = client.request("open", model="m")
    assert refused.args[0] == number
    assert isinstance(refused.args[1], Failure)
    assert "The trainer is not installed" in refused.args[1].text
    assert client.state == "off"
    launcher.close()
    store.close()


def test_a_machine_gets_the_trainers_requirements_without_the_window() -> None:
    names = {line.lower().partition(">")[0].partition("<")[0] for line in dependencies()}
    assert {"torch", "open_clip_torch", "pydantic", "filelock"} <= names
    assert not any(name.startswith(("pyside6", "pyqtgraph", "sqlalchemy", "psycopg", "pytest")) for name in names)
    assert not any(";" in name for name in names)
