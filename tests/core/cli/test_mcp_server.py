"""``sdgui-core mcp``: the MCP SDK's client calls each tool of a server process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.cli.runs.mcp_server import Tools, _server
from core.spec.presets import preset_names
from core.spec.run.events import EventReader, EventWriter, Metrics, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.status import own_status, process_alive
from tests.core.cli.test_listing import RECALL, trained
from tests.core.cli.test_running import say
from tests.core.images import write_pairs
from tests.core.remote.conftest import wait_for
from tests.mutations import survives

anyio = pytest.importorskip("anyio")
mcp = pytest.importorskip("mcp")

READING = {
    "list_runs",
    "show_run",
    "compare_runs",
    "read_metrics",
    "show_config",
    "list_presets",
    "propose_config",
}
Call = Callable[..., Awaitable[Any]]


def served(home: Path, use: Callable[[Any, Call], Awaitable[None]], *options: str) -> None:
    """Run ``use(client, call)`` with a server of ``home``; ``call`` returns a tool's JSON, or its error as text."""

    async def run() -> None:
        words = ["-m", "core", "mcp", "--home", str(home), *options]
        parameters = mcp.StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
        async with mcp.Client(mcp.stdio_client(parameters)) as client:

            async def call(tool: str, **arguments: object) -> Any:
                result = await client.call_tool(tool, arguments)
                [content] = result.content
                if result.is_error:
                    return content.text
                assert json.loads(content.text) == result.structured_content
                return result.structured_content

            await use(client, call)

    anyio.run(run)


def test_tools_answer_as_the_verbs_do(tmp_path: Path) -> None:
    home = tmp_path / "home"
    trained(home, "first-1", 0.5)
    second = trained(home, "second-2", 0.75, ended=False)
    changed = json.loads(second.config.read_text()) | {"name": "second"}
    second.config.write_text(json.dumps(changed))
    with closing(EventWriter(second.events)) as writer:
        for step in range(1, 1001):
            writer.write(Metrics(step=step, values={"train/loss": float("nan") if step == 10 else 1 / step}))
        writer.write(RunFinished(step=1000))

    async def use(client: Any, call: Call) -> None:
        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == READING, "nothing is launched by default"
        assert all(tool.annotations.read_only_hint and tool.description for tool in tools)
        listed = await call("list_runs")
        assert [(row["name"], row["state"], row["metrics"][RECALL]["best"]) for row in listed["runs"]] == [
            ("second-2", "done", 0.75),
            ("first-1", "done", 0.5),
        ]
        assert (await call("list_runs", limit=1))["matching"] == 2
        assert [row["name"] for row in (await call("list_runs", containing="first"))["runs"]] == ["first-1"]
        assert (await call("list_runs", state="failed"))["runs"] == []
        at_home = ("--cached", "--json", "--home", str(home))
        assert await call("show_run", run="first-1") == json.loads(say("runs", "show", "first-1", *at_home)[1])
        compared = await call("compare_runs", runs=["first-1", "second-2"])
        assert compared == json.loads(say("runs", "compare", "first-1", "second-2", *at_home)[1])
        assert compared["fields"]["name"] == ["clip", "second"]
        curve = (await call("read_metrics", run="second-2", metrics=["train/loss"], points=50))["train/loss"]
        assert len(curve) <= 51
        assert (curve[0], curve[-1]) == ([1, 1.0], [1000, 0.001])
        whole = (await call("read_metrics", run="second-2", metrics=["train/loss"], points=1000))["train/loss"]
        assert [step for step, _ in whole] == [step for step in range(1, 1001) if step != 10]
        assert await call("show_config", run="second-2") == changed
        assert list(await call("list_presets")) == preset_names()
        settings = ["optim.epochs=3", "data.train=here.csv"]
        proposed = await call("propose_config", base="sd-clip", size="tiny", settings=settings)
        assert proposed["changes"] == {"optim.epochs": [2, 3], "data.train": ["", "here.csv"]}
        assert (proposed["config"]["preset"], proposed["config"]["optim"]["epochs"]) == ("sd-clip", 3)
        forked = await call("propose_config", base="second-2", settings=["seed=7"])
        assert (forked["config"]["name"], forked["changes"]) == ("second", {"seed": [0, 7]})

    served(home, use)
    assert sorted(path.name for path in (home / "runs").iterdir()) == ["first-1", "second-2"]


def test_bad_input_is_reported_and_the_server_continues(tmp_path: Path) -> None:
    home = tmp_path / "home"
    trained(home, "first-1", 0.5)
    outside = trained(tmp_path / "elsewhere", "outside", 0.5)
    (home / "runs" / "link").symlink_to(outside.path)
    (home / "runs" / "broken").mkdir()
    (home / "runs" / "broken" / "config.json").write_text("{")
    cases: list[tuple[str, dict[str, object], str]] = [
        ("show_run", {"run": "none"}, "there is no run none"),
        ("show_run", {"run": str(outside.path)}, "is outside"),
        ("show_config", {"run": "link"}, "is outside"),
        ("show_config", {"run": "broken"}, "broken/config.json"),
        ("show_run", {}, "run: Field required"),
        ("show_run", {"run": "first-1", "json": True}, "show_run has no argument json; available: run."),
        ("list_runs", {"limit": 100_000}, "limit: Input should be less than or equal to 500"),
        ("compare_runs", {"runs": ["first-1"]}, "runs: List should have at least 2 items"),
        ("read_metrics", {"run": "first-1", "metrics": ["los"]}, "has no metric los; available: train/loss"),
        ("propose_config", {"base": "clop"}, "clop is neither a preset nor a run"),
        ("propose_config", {"base": "clip", "settings": ["optim.epoch=3"]}, "optim.epochs"),
        ("propose_config", {"base": "clip", "settings": ["optim.epochs=-1"]}, "optim.epochs"),
        ("propose_config", {"base": "clip", "size": "huge"}, "size: "),
        ("launch", {"base": "clip"}, "Unknown tool: launch"),
    ]

    async def use(client: Any, call: Call) -> None:
        with pytest.raises(mcp.MCPError, match="there is no prompt x; this server has only tools"):
            await client.get_prompt("x")
        for tool, arguments, part in cases:
            answer = await call(tool, **arguments)
            assert isinstance(answer, str), (tool, arguments, answer)
            assert part in answer
            assert "Traceback" not in answer
        assert (await call("show_run", run="first-1"))["state"] == "done"

    served(home, use)


def test_an_unknown_tool_with_many_arguments_is_refused_quickly(tmp_path: Path) -> None:
    server = _server(Tools(tmp_path, 0), launching=False)

    def call() -> None:
        with pytest.raises(Exception, match="Unknown tool: launch"):
            anyio.run(server.call_tool, "launch", {str(number): number for number in range(20_000)})

    survives(call)


@pytest.mark.ci
def test_launches_stay_within_the_limit_and_outlive_the_server(tmp_path: Path) -> None:
    home = tmp_path / "home"
    train, _ = write_pairs(tmp_path / "pairs")
    (tmp_path / "own.py").write_text("raise SystemExit\n")
    training = trained(home, "training", 0.5, ended=False)
    training.write_status(own_status())  # this process stands for its trainer
    settings = [f"data.train={train}", "optim.epochs=1", "name=by-agent"]
    launched = dict[str, Any]()

    async def use(client: Any, call: Call) -> None:
        [tool] = [tool for tool in (await client.list_tools()).tools if tool.name not in READING]
        assert (tool.name, tool.annotations.read_only_hint) == ("launch", False)
        refused = await call("launch", base="clip", size="tiny", settings=settings)
        assert refused.startswith("1 runs train on this computer, but --allow-launch is 1;")
        training.status.unlink()
        own_code = f"data.dataset={tmp_path / 'own.py'}:Pairs"
        unknown = await call("launch", base="clip", size="tiny", settings=[*settings, own_code])
        assert "you have not run" in unknown
        launched.update(await call("launch", base="clip", size="tiny", settings=settings))
        again = await call("launch", base="clip", size="tiny", settings=settings)
        assert again.startswith("1 runs train"), "counted at once"

    served(home, use, "--allow-launch", "1")
    assert sorted(path.name for path in (home / "runs").iterdir()) == sorted(["training", launched["run"]])
    run = RunDir(launched["folder"])
    status = run.read_status()
    assert status is not None
    wait_for(lambda: not process_alive(status))
    events = EventReader(run.events).read_all()
    assert isinstance(events[0], RunStarted), run.stderr_end()
    assert isinstance(events[-1], RunFinished), run.stderr_end()


def test_without_its_library_the_command_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    code, out, err = say("mcp")
    assert (code, out) == (1, "")
    assert "Model Context Protocol is not installed" in err
    assert "[mcp]" in err
