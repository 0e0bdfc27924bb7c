"""Importing the config loads no heavy module and builds no validator."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
CODE = """
import json, sys
import core.spec.caption_files, core.spec.config, core.spec.presets, core.spec.run.folder, core.spec.study
from pydantic import BaseModel

def below(model):
    for child in model.__subclasses__():
        yield child
        yield from below(child)

built = [m.__name__ for m in below(BaseModel) if m.__module__.startswith("core") and m.__pydantic_complete__]
unneeded = {"psutil", "filelock", "asyncio", "importlib.metadata", "difflib", "numpy", "torch"}
unneeded.add("core.spec.study.records")
print(json.dumps([sorted(unneeded & set(sys.modules)), built]))
"""


def test_importing_a_config_builds_no_validator_and_loads_no_psutil() -> None:
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, cwd=ROOT, check=True)
    assert json.loads(found.stdout) == [[], []]
