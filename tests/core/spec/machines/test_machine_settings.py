"""What a machine's settings may be: the last that is allowed, the first that is not, and what follows from them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from core.spec.machines.machine import LOCAL, Machine, this_computer


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "x" * 100},
        {"name": "my far one"},
        {"host": "a" + "b" * 254},
        {"host": "anna@[::1]:22"},
        {"python": "~/p" + "x" * 1997},
        {"setup": "a\n\tb" + "x" * 19_996},
        {"sbatch": "#SBATCH --a=b\n\n#SBATCH -x\n"},
        {"script": "#!/bin/bash\n" + "x" * 99_988},
    ],
)
def test_accepted_settings(settings: dict[str, Any]) -> None:
    made = Machine.model_validate({"name": "a"} | settings)
    assert all(getattr(made, name) == value for name, value in settings.items())


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


def test_derived_settings() -> None:
    for settings, ranks in (({}, 1), ({"gpus": 2}, 2), ({"gpus": 2, "processes": 3}, 3)):
        assert Machine.model_validate({"name": "a", **settings}).ranks == ranks
    assert Machine(name="a").is_local
    assert not Machine(name="a", host="b").is_local
    here = this_computer("/my/runs")
    assert (here.name, here.is_local, here.runs, here.at_once, here.launcher) == (LOCAL, True, "/my/runs", 1, "direct")
