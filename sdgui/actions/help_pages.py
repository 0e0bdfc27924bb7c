"""F1: the documentation as HTML in the user's browser, offline, with formulas as MathML. No Qt.

Flow: ``docs/*.md`` (in a wheel ``sdgui/resources/docs``) -> `help_page` -> one HTML file per page in the cache.
Images and generated references are only on the website.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import platformdirs

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.resources import pages_folder

FIRST_PAGE = "tutorial.md"
_IMAGE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\s*$", re.MULTILINE)
_GENERATED = re.compile(r"\[([^\]]*)\]\((?:\.\./)*generated/[^)]*\)")
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_LINK = re.compile(r'href="([^":#]+)\.md(#[^"]*)?"')
_STYLE = """:root{color-scheme:light dark} body{font:16px/1.5 system-ui,sans-serif;margin:0;display:flex}
nav{padding:24px 16px;min-width:200px;line-height:1.8} nav a{display:block} main{max-width:800px;padding:16px 32px}
code,pre{font:14px/1.5 ui-monospace,monospace} pre{padding:8px 16px;border:1px solid #8884;overflow:auto}
table{border-collapse:collapse} td,th{border:1px solid #8884;padding:4px 8px;text-align:left;vertical-align:top}"""


def read_pages(folder: Path) -> Mapping[str, str]:
    """The Markdown of every page by its path in ``folder``, such as ``panels/search.md``. Empty without the folder."""
    pages = {}
    for path in sorted(folder.rglob("*.md")):
        name = path.relative_to(folder).as_posix()
        if name != "index.md" and not name.startswith(("generated/", "design/")):
            pages[name] = _GENERATED.sub(r"\1", _IMAGE.sub("", path.read_text(encoding="utf-8")))
    return pages


def help_page(name: str, folder: Path | None = None, cache: Path | None = None) -> Path:
    """The HTML file of the page ``name``, or of the tutorial if the name is unknown. Rewrites changed pages.

    Raises UserError if no pages are installed or the cache cannot be written.
    """
    pages = read_pages(folder or pages_folder())
    if not pages:
        raise UserError("The pages of the documentation are not installed; reinstall sdgui.")
    digest = hashlib.sha256("\0".join(part for page in pages.items() for part in page).encode()).hexdigest()[:16]
    out = (cache or Path(platformdirs.user_cache_path("sdgui", appauthor=False))) / "help" / digest
    target = out / _html_name(name if name in pages else FIRST_PAGE)
    if not target.is_file():
        for page_name, text in _rendered(pages).items():
            path = out / _html_name(page_name)
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, text.encode())
    return target


def _html_name(name: str) -> str:
    return name.removesuffix(".md") + ".html"


def _rendered(pages: Mapping[str, str]) -> Mapping[str, str]:
    """Each page as a complete HTML document, with links to all others."""
    from latex2mathml.converter import convert  # noqa: PLC0415  (a window that shows no help does without)
    from markdown_it import MarkdownIt  # noqa: PLC0415
    from mdit_py_plugins.dollarmath import dollarmath_plugin  # noqa: PLC0415

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    dollarmath_plugin(
        markdown,
        allow_labels=False,
        renderer=lambda tex, options: convert(tex, display="block" if options["display_mode"] else "inline"),
    )
    titles = {name: match[1] if (match := _TITLE.search(text)) else name for name, text in pages.items()}
    documents = {}
    for name, text in pages.items():
        up = "../" * (len(PurePosixPath(name).parts) - 1)
        links = "".join(
            f'<a href="{up}{_html_name(page_name)}">{html.escape(title)}</a>' for page_name, title in titles.items()
        )
        body = _LINK.sub(lambda match: f'href="{match[1]}.html{match[2] or ""}"', markdown.render(text))
        documents[name] = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f"<title>{html.escape(titles[name])} - sdgui</title>"
            f"<style>{_STYLE}</style></head><body><nav>{links}</nav><main>{body}</main></body></html>"
        )
    return documents
