"""Settings of a machine that are refused, with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from core.spec.machines.machine import Machine


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": ""}, "a machine's name must have 1 to 100 characters"),
        ({"name": "x" * 101}, "1 to 100"),
        ({"name": "a/b"}, "no slashes"),
        ({"name": " a"}, "1 to 100"),
        ({"name": "a\n"}, "1 to 100"),
        ({"host": "a" + "b" * 255}, "not a valid ssh name"),
        ({"host": "-oProxyCommand=true"}, "not a valid ssh name"),
        ({"host": "a;b"}, "not a valid ssh name"),
        ({"host": "$(x)"}, "not a valid ssh name"),
        ({"host": "a\nb"}, "not a valid ssh name"),
        ({"python": "a\nb"}, "one line of at most 2,000"),
        ({"runs": "x" * 2001}, "one line"),
        ({"setup": "x" * 20_001}, "at most 20,000"),
        ({"setup": "\x1b[2J"}, "20,000"),
        ({"sbatch": "#SBATCH -a\nrm -rf /"}, "each line of sbatch must start with '#SBATCH ', not 'rm -rf /'"),
        ({"sbatch": "#SBATCH"}, "must start with"),
        ({"script": "echo"}, "must begin with"),
        ({"script": "#!" + "x" * 99_999}, "at most 100,000"),
        ({"script": "#!\0"}, "100,000"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_refused_settings_and_their_reasons(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Machine.model_validate({"name": "a"} | settings)
