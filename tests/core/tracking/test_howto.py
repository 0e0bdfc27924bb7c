"""The code on the page about logging runs as it is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import core
from core.cli.homes import home_folder, runs
from core.cli.run_tables import read_row

ROOT = Path(core.__file__).parent.parent
PAGE = ROOT / "docs" / "howto" / "log-from-your-script.md"


def test_each_example_of_the_page_logs_as_described(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 4
    script = tmp_path / "script.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + "\n".join(blocks), encoding="utf-8")
    subprocess.run([sys.executable, str(script)], check=True, timeout=120)
    rows = {row.name.rsplit("-", 2)[0]: row for row in map(read_row, runs(home_folder()))}
    assert {name: (row.state, row.step) for name, row in rows.items()} == {
        "baseline": ("done", 99), "with-samples": ("done", 1), "long": ("done", 11)
    }  # fmt: skip
    assert rows["baseline"].metrics["val/accuracy"].best == 0.99
    assert rows["long"].metrics["loss"].last == 0.9
