"""The pages: what they name exists, and what exists has a page. Sphinx itself is run by .ci/run, with -W."""

from __future__ import annotations

import importlib.util
import re
import shlex
from argparse import ArgumentParser
from pathlib import Path
from types import ModuleType

import pytest

from core.__main__ import make_parser as core_parser
from core.spec.config.run import field_names
from core.spec.presets import PRESETS
from core.spec.run.events import KINDS
from sdgui.app.start import make_parser as window_parser
from sdgui.panels.registry import PANELS
from sdgui.store.run_table.fields import Catalogue
from sdgui.store.run_table.parser import parse

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *(path for path in sorted(DOCS.rglob("*.md")) if "generated" not in path.parts),
    *(ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING")),
]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|srcset=\"([^\"]+)\"|src=\"([^\"]+)\"")
BLOCK = re.compile(r"^```(?:sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generated(generate: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    (folder / "presets").mkdir()
    (folder / "presets" / "gone.md").write_text("of a preset that is no more", encoding="utf-8")
    generate.write_all(folder)
    return folder


def test_every_setting_preset_event_verb_and_panel_is_documented(generated: Path) -> None:
    settings = "\n".join(path.read_text(encoding="utf-8") for path in (generated / "settings").glob("*.md"))
    headings = set(re.findall(r"^#+ `([\w.]+)`$", settings, re.MULTILINE))
    assert headings == set(field_names())
    for preset in PRESETS.values():
        page = (generated / "presets" / f"{preset.name}.md").read_text(encoding="utf-8")
        assert preset.paper in page
        assert preset.description in page
    assert not (generated / "presets" / "gone.md").exists()
    events = (generated / "events.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## `(\w+)`$", events, re.MULTILINE)) == set(KINDS)
    commands = (generated / "commands.md").read_text(encoding="utf-8")
    assert len(verbs(core_parser())) > 20
    for verb in verbs(core_parser()):
        assert f"### sdgui-core {verb}\n" in commands
    offered = (generated / "python.md").read_text(encoding="utf-8")
    for name in ("open_model", "encode", "caption", "evaluate", "preset", "train", "sweep", "read_run"):
        assert f"### core.{name}\n" in offered
    for panel in PANELS:
        assert (DOCS / "panels" / f"{panel.name}.md").is_file(), f"docs/panels/{panel.name}.md: F1 opens it"


def verbs(parser: ArgumentParser) -> list[str]:
    return [name for action in parser._actions for name in action.choices or () if hasattr(action, "_name_parser_map")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_link_is_broken(page: Path, generated: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for groups in LINK.findall(text):
        target = next(filter(None, groups)).partition("#")[0]
        if not target or "://" in target:
            continue
        _, of_generated, name = target.partition("generated/")
        there = generated / name if of_generated else page.parent / target
        assert there.is_file(), f"{page.name}: {target}"


def commands_of(page: Path) -> list[str]:
    """The lines of a page's shell blocks that start one of our programs."""
    found = []
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.splitlines():
            for part in line.removeprefix("$ ").split(" && "):
                command = re.sub(r"^(\.venv/bin/)", "", part.strip())
                if command.startswith(("sdgui ", "sdgui-core ")) and "..." not in command:
                    found.append(command)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_documented_command_exists(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = {}
    parsers = {"sdgui": window_parser(), "sdgui-core": core_parser()}
    for command in commands_of(page):
        program, *arguments = shlex.split(command.partition(" > ")[0], comments=True)
        try:
            parsers[program].parse_args(arguments)
        except SystemExit as ended:
            if ended.code:
                unknown[command] = capsys.readouterr().err
    assert unknown == {}


def test_the_filters_on_the_page_of_runs_parse() -> None:
    examples = re.search(r"^```text\n(.*?)^```", (DOCS / "panels" / "runs.md").read_text(encoding="utf-8"), re.M | re.S)
    assert examples is not None
    catalogue = Catalogue(("train/loss", "val/student/image_to_text_R@1", "val/teacher/mean_recall"))
    for line in examples[1].splitlines():
        parse(line, catalogue)  # raises at what it does not know


def test_readme_tutorial_and_command_line_page_have_commands_to_check() -> None:
    assert len(commands_of(DOCS / "tutorial.md")) >= 7
    assert len(commands_of(ROOT / "README.md")) >= 5
    assert len(commands_of(DOCS / "howto" / "command-line.md")) >= 20
