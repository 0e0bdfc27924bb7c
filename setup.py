"""The pages of docs/ go into the wheel as resources/docs, so that F1 shows them offline; the rest: pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DOCS = Path(__file__).parent / "docs"


class BuildWithPages(build_py):
    """Copies what people wrote; pages that are generated are for the site alone."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # a checkout shows its own docs/
            return
        for page in DOCS.rglob("*.md"):
            name = page.relative_to(DOCS)
            if name.parts[0] != "generated" and name.name != "index.md":
                target = Path(self.build_lib, "resources", "docs", name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(page, target)


setup(cmdclass={"build_py": BuildWithPages})
