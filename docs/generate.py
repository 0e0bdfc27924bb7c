"""The pages that are made from the program: settings, presets, events, commands and the Python API.

Flow: ``conf.py`` calls `write_all` before each build -> ``docs/generated/*.md``, which nobody edits and git ignores. A
page is written anew only when it changed, so that a second build reads what is new alone.
"""

from __future__ import annotations

import argparse
import ast
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import core
from core.__main__ import make_parser as core_parser
from core.spec.config import RunConfig
from core.spec.presets import PRESETS, SIZES, preset_config
from core.spec.presets.preset import Preset
from core.spec.run.events import KINDS, Event
from sdgui.app.start import make_parser as window_parser

ROOT = Path(__file__).resolve().parents[1]
GENERATED = Path(__file__).resolve().parent / "generated"
_WORDS = {"int": "whole number", "float": "number", "str": "text", "bool": "yes or no"}


def write_all(folder: Path = GENERATED) -> list[str]:
    """Write every page; the names of all, without the suffix."""
    pages = {
        "settings/index": _settings_index(),
        **{f"settings/{name}": _settings_page(name, model) for name, model in _sections()},
        "presets/index": _presets_index(),
        **{f"presets/{preset.name}": _preset_page(preset) for preset in PRESETS.values()},
        "events": _events(),
        "commands": _commands(),
        "man/sdgui": _man(window_parser()),
        "man/sdgui-core": _man(core_parser()),
        "python": _python(),
    }
    for name, text in pages.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in folder.rglob("*.md"):
        if path.relative_to(folder).with_suffix("").as_posix() not in pages:
            path.unlink()
    return list(pages)


# Settings
def _sections() -> list[tuple[str, type[BaseModel]]]:
    """The sections of a config; "experiment" is what lies outside of them."""
    found: list[tuple[str, type[BaseModel]]] = [("experiment", RunConfig)]
    for name, field in RunConfig.model_fields.items():
        if (model := _model(field)) is not None:
            found.append((name, model))
    return found


def _model(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _settings_index() -> str:
    names = [name for name, _ in _sections()]
    about = (
        "Every setting of a config, as the form shows it. A config is a JSON file with these sections; "
        "`--set section.setting=value` changes one on the command line, and each field of **Define** has it as its "
        "tooltip's name. What does not fit together is named at its field before anything trains."
    )
    return f"# Settings\n\n{about}\n\n{_toctree(names)}"


def _settings_page(name: str, model: type[BaseModel]) -> str:
    title = "Experiment" if model is RunConfig else str(RunConfig.model_fields[name].title)
    head = f"# {title}\n\n{_summary(model)}\n\n"
    prefix = "" if model is RunConfig else f"{name}."
    return head + "\n".join(_fields(model, prefix, 2))


def _fields(model: type[BaseModel], prefix: str, level: int) -> Iterator[str]:
    inner = []
    for name, field in model.model_fields.items():
        below = _model(field)
        if below is None:
            yield _setting(prefix + name, field, level)
        elif model is not RunConfig:
            inner.append((name, field, below))
    for name, field, below in inner:
        yield f"{'#' * level} {field.title}: `{prefix}{name}`\n\n{_summary(below)}\n"
        yield from _fields(below, f"{prefix}{name}.", level + 1)


def _setting(name: str, field: FieldInfo, level: int) -> str:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    default = field.default if field.default is not PydanticUndefined else ""
    facts = [_type(field.annotation), *_range(field), f"default `{_value(default)}`"]
    if extra.get("unit"):
        facts.append(f"in {extra['unit']}")
    if extra.get("advanced"):
        facts.append("under *More*")
    described = f" {field.description}" if field.description else ""
    return f"{'#' * level} `{name}`\n\n**{field.title}.**{described}\n\n{'; '.join(facts)}.\n"


def _type(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return "one of " + ", ".join(f"`{_value(one)}`" for one in get_args(kind))
    if origin in (Union, UnionType):
        return " or ".join(_type(one) if one is not type(None) else "nothing" for one in get_args(kind))
    if origin in (tuple, list):
        return "a list"
    return _WORDS.get(getattr(kind, "__name__", ""), "a value")


def _range(field: FieldInfo) -> Iterator[str]:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    for one in field.metadata:
        for bound, word in words.items():
            value = getattr(one, bound, None)
            if value is not None:
                yield f"{word} {value:,}"


def _value(value: object) -> str:
    return (
        {"": "(empty)", True: "true", False: "false"}.get(value, str(value))
        if isinstance(value, (str, bool))
        else str(value)
    )


def _summary(model: type) -> str:
    return inspect.cleandoc(model.__doc__ or "").replace("``", "`")


# Presets
def _presets_index() -> str:
    rows = [f"| [{one.title}]({one.name}.md) | `{one.name}` | {one.paper} |" for one in PRESETS.values()]
    about = (
        "A preset is a published system as a config: what **New** offers, and `sdgui-core presets` lists. Each has "
        f"the sizes {', '.join(SIZES)}: tiny for tests, demo for the demo's images on two cores, base as published, "
        "large with larger towers. What follows departs from the defaults of the settings."
    )
    table = "| system | preset | paper |\n| --- | --- | --- |\n" + "\n".join(rows)
    return f"# Presets\n\n{about}\n\n{table}\n\n{_toctree(list(PRESETS), hidden=True)}"


def _preset_page(preset: Preset) -> str:
    config, plain = preset_config(preset.name, "base"), RunConfig()
    rows = "\n".join(
        f"| `{name}` | `{_value(value)}` |" for name, value in _changed(config, plain) if name not in ("name", "preset")
    )
    commands = f"```sh\nsdgui-core presets {preset.name} --size demo > {preset.name}.json\n```"
    return (
        f"# {preset.title}\n\n{preset.description}\n\n*{preset.paper}.*\n\n{commands}\n\n"
        f"At size base it sets:\n\n| setting | value |\n| --- | --- |\n{rows}\n"
    )


def _changed(config: BaseModel, plain: BaseModel, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name in type(config).model_fields:
        one, other = getattr(config, name), getattr(plain, name)
        if isinstance(one, BaseModel):
            yield from _changed(one, other, f"{prefix}{name}.")
        elif one != other:
            yield prefix + name, one


# Events
def _events() -> str:
    parts = [
        "# Events\n\nA run's `events.jsonl` has a line of JSON for each event, only ever appended: an object with `v` "
        "(version), `kind`, `time` (seconds since the epoch) and the fields below. A torn last line waits for its end; "
        "an unknown kind is skipped and counted; numbers that JSON cannot hold are the strings `nan`, `inf` and `-inf`."
    ]
    for kind, cls in KINDS.items():
        rows = "\n".join(
            f"| `{one.name}` | {_type_name(one.type)} | {_needed(one)} |"
            for one in fields(cls)
            if not _of_all(one.name)
        )
        parts.append(f"## `{kind}`\n\n{_summary(cls)}\n\n| field | type | |\n| --- | --- | --- |\n{rows}")
    return "\n\n".join(parts) + "\n"


def _of_all(name: str) -> bool:
    return name in {one.name for one in fields(Event)}


def _type_name(kind: object) -> str:
    names = {"Mapping[str, float]": "name → number", "Mapping[str, Any]": "plain data"}
    return names.get(str(kind), _WORDS.get(str(kind), str(kind).lower()))


def _needed(one: Any) -> str:
    return "" if one.default is MISSING and one.default_factory is MISSING else f"default `{_value(one.default)}`"


# Commands
def _commands() -> str:
    about = "The window is `sdgui`; the verbs are `sdgui-core VERB`, or `python -m core VERB`."
    exits = "Exit status is 0 only on success; results go to stdout, progress and errors to stderr."
    parts = [f"# Command line\n\n{about} {exits}\n", *_command(window_parser(), 2)]
    core_ = core_parser()
    parts.append(f"## sdgui-core\n\n{core_.description}\n")
    parts += [text for verb, about_ in _verbs(core_) for text in _command(verb, 3, about_)]
    return "\n".join(parts)


def _verbs(parser: argparse.ArgumentParser) -> list[tuple[argparse.ArgumentParser, str]]:
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {one.dest: one.help or "" for one in action._choices_actions}
            found += [(one, helps.get(name, "")) for name, one in action.choices.items()]
    return found


def _command(parser: argparse.ArgumentParser, level: int, about: str = "") -> Iterator[str]:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    told = _plain(parser.description or (about[:1].upper() + about[1:] + "." if about else ""))
    yield f"{'#' * level} {parser.prog}\n\n{told}\n\n```text\n{usage}\n```\n"
    rows = [(_invocation(one), _plain(_help(parser, one))) for one in _options(parser)]
    if rows:
        yield "\n".join(f"`{name}`\n: {text or 'as named'}\n" for name, text in rows)
    for verb, help_ in _verbs(parser):
        yield from _command(verb, level + 1, help_)


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    skipped = (argparse._HelpAction, argparse._SubParsersAction)
    return [one for one in parser._actions if not isinstance(one, skipped) and one.help != argparse.SUPPRESS]


def _invocation(action: argparse.Action) -> str:
    return argparse.HelpFormatter("")._format_action_invocation(action)


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _plain(text: str) -> str:
    """Text of a terminal as Markdown: nothing in it is markup."""
    for mark in ("\\", "*", "_", "<", "|", "[", "$", "{"):
        text = text.replace(mark, f"\\{mark}")
    return text


def _man(parser: argparse.ArgumentParser) -> str:
    """A page for the man builder: its first section is the name."""
    parts = [f"---\norphan: true\n---\n\n# {parser.prog}\n", *_command(parser, 2)]
    return "\n".join(parts)


# The Python API
def _python() -> str:
    about = (
        "What `import core` offers a notebook or a script. Nothing is loaded until a name is used; everything is "
        "typed. What a user can mend is raised as `core.UserError`, one sentence. "
        '`pip install "sdgui[notebook]"` brings pandas.'
    )
    parts = [f"# Python\n\n{about}\n"]
    for module in ("notebook/models", "notebook/training", "notebook/sweeps", "notebook/frames", "tracking/starting"):
        source = (ROOT / "core" / f"{module}.py").read_text(encoding="utf-8")
        tree = ast.parse(source)
        title, _, example = (ast.get_docstring(tree) or "").partition("\n\n")
        parts.append(f"## {title.rstrip('.:')}\n\n```python\n{inspect.cleandoc(example)}\n```\n")
        parts += [_function(node) for node in _functions(tree) if node.name in core._FROM]
    return "\n".join(parts)


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """The functions of a module of `core.notebook`, those first that it offers from elsewhere under the same name."""
    for node in tree.body:
        names = {one.name for one in node.names if one.asname is None} if isinstance(node, ast.ImportFrom) else set()
        if names & set(core._FROM):
            source = ROOT.joinpath(*node.module.split(".")).with_suffix(".py")
            if source.is_file():
                there = ast.parse(source.read_text(encoding="utf-8")).body
                yield from (one for one in there if isinstance(one, ast.FunctionDef) and one.name in names)
    yield from (node for node in tree.body if isinstance(node, ast.FunctionDef))


def _function(node: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    signature = f"core.{node.name}({ast.unparse(node.args)}){returns}"
    text = (ast.get_docstring(node) or "").replace("``", "`")
    return f"### core.{node.name}\n\n```python\n{signature}\n```\n\n{text}\n"


def _toctree(names: Sequence[str], hidden: bool = False) -> str:
    options = ":maxdepth: 1\n" + (":hidden:\n" if hidden else "")
    return "```{toctree}\n" + options + "\n" + "\n".join(names) + "\n```\n"


if __name__ == "__main__":
    print("\n".join(write_all()))
