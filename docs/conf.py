"""Sphinx: ``.venv/bin/python -m sphinx -W -b html docs build/docs`` (``pip install -e ".[docs]"``)."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from docutils import nodes  # noqa: E402
from figures import check  # noqa: E402  (docs/figures.py)
from generate import write_all  # noqa: E402
from latex2mathml.converter import convert  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402
from sphinx.writers.html5 import HTML5Translator  # noqa: E402

write_all()
check()


def render_math(translator: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Formulas as MathML: browsers show it without a script."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    translator.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (render_math, None), (render_math, None))


html_math_renderer = "mathml"

project = "sdgui"
author = "The sdgui authors"
copyright = author
version = release = str(
    tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
)
extensions = ["myst_parser"]
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 4
exclude_patterns = ["generated/man/sdgui-core.md", "generated/man/sdgui.md"] if "man" not in sys.argv else []
html_theme = "furo"
html_title = f"sdgui {release}"
html_show_copyright = False
man_pages = [
    ("generated/man/sdgui", "sdgui", "experiment manager for self-distilling image-language models", author, 1),
    ("generated/man/sdgui-core", "sdgui-core", "train, evaluate and use image-language models", author, 1),
]
