"""The command ``data`` on real files: statistics, leaks, duplicates, damaged files and a validation split."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.__main__ import main
from tests.core.data.samples import write_pairs


def test_data_are_described_checked_and_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, val = write_pairs(tmp_path / "train", 8, captions=2), write_pairs(tmp_path / "val", 3)
    for name in ("006", "007"):
        shutil.copy(tmp_path / "train" / "images" / "005.png", tmp_path / "train" / "images" / f"{name}.png")
    (tmp_path / "val" / "images" / "000.png").write_bytes(b"broken")
    (tmp_path / "train" / "images" / "004.png").write_bytes(b"broken")
    with train.open("a") as file:
        file.write("images/gone.png,nothing,c9\n")
    assert main(["data", str(train), "--against", f"val={val}", "--hold-out", "0.25", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["images"], facts["pairs"], facts["bad"]) == (8, 16, 1)
    assert "gone.png" in facts["reasons"][0]["why"]
    assert facts["exact"] == [[5, 6, 7]]
    assert [one["row"] for one in facts["broken"]] == [4]
    assert {(leak["row"], leak["other_split"], leak["kind"]) for leak in facts["leaks"]} == {
        (1, "val", "same bytes"),
        (2, "val", "same bytes"),
    }
    assert (facts["train"]["images"], facts["held_out"]["images"]) == (6, 2)
    assert main(["data", str(train)]) == 0
    assert "label kind: 4 values" in capsys.readouterr().out
    assert main(["data", str(train), "--against", "val"]) == 1
    assert "NAME=SOURCE" in capsys.readouterr().err
    assert main(["data", str(train), "--against", f"val={tmp_path / 'gone.csv'}"]) == 1, "nothing was compared"
    assert "val cannot be read: There is no data at" in capsys.readouterr().err


def test_a_label_cannot_imitate_a_line_of_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs(tmp_path, 1)
    source = tmp_path / "labelled.csv"
    source.write_text('filepath,title,"kind\nleaks 0 images"\nimages/000.png,x,y\n')
    assert main(["data", str(source)]) == 0
    assert "\nleaks 0" not in capsys.readouterr().out


def test_data_are_described_and_checked_without_torch(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "train", 3)
    code = (
        "import sys; from core.__main__ import main\n"
        f"assert main(['data', {str(source)!r}, '--check']) == 0\n"
        "assert not {'torch', 'open_clip'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_model_or_index_is_reported_without_torch() -> None:
    commands = [
        ["caption", "nowhere", "a.png"],
        ["evaluate", "nowhere", "--data", "x", "--task", "retrieval"],
        ["export", "nowhere", "out"],
        ["interpolate", "nowhere"],
        ["noise", "nowhere"],
        ["search", "nowhere", "--text", "cat"],
        ["train", "nowhere.json", "out"],
    ]
    code = (
        "import sys; from core.__main__ import main\n"
        f"assert all(main(command) == 1 for command in {commands})\n"
        "assert not {'torch', 'open_clip'} & sys.modules.keys()"
    )
    process = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert process.stderr.count("nowhere") >= len(commands), process.stderr


@pytest.mark.parametrize("seed", ["-1", "9" * 30, "x"])
@pytest.mark.parametrize("command", [["data", "--hold-out", "0.5", "--seed"], ["shard", "out", "--shuffle"]])
def test_an_invalid_seed_is_refused(command: list[str], seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command, seed, "data.csv"])
    assert "is not a seed; use a number from 0 to 2147483647" in capsys.readouterr().err
