"""The wheel has resources/ and docs/ in sdgui/resources, so that F1 works offline; the rest: pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildWithResources(build_py):
    """Copies the files that `core.spec.resources` finds. An editable installation uses the checkout's own."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, "sdgui", "resources")
        left_out = shutil.ignore_patterns("screenshots", "adapting", "caption-filter")  # only the checkout needs them
        shutil.copytree(HERE / "resources", target, dirs_exist_ok=True, ignore=left_out)
        for page in (HERE / "docs").rglob("*.md"):
            name = page.relative_to(HERE / "docs")
            if name.parts[0] != "generated" and name.name != "index.md":  # generated pages are for the site only
                (target / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(page, target / "docs" / name)


setup(cmdclass={"build_py": BuildWithResources})
