"""The manual: the long documentation that is installed with the package, a page a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FOLDER = "docs"
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")


@dataclass(frozen=True, slots=True)
class Page:
    """A page in Markdown; `title` is its first heading, `about` its first sentence."""

    name: str
    title: str
    about: str
    text: str


@cache
def pages() -> dict[str, Page]:
    """All pages by name, in the order of their names."""
    found = {}
    for entry in sorted(files(__package__).joinpath(FOLDER).iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".md"):
            name = entry.name.removesuffix(".md")
            found[name] = _page(name, entry.read_text(encoding="utf-8"))
    return found


def _page(name: str, text: str) -> Page:
    blocks = [" ".join(block.split()) for block in text.split("\n\n") if block.strip()]
    title = blocks[0].removeprefix("# ") if blocks else name
    about = next((block for block in blocks[1:] if block[0] not in "#|`<!"), "")
    about = _LINK.sub(r"\1", about)
    end = about.find(". ")
    return Page(name, title, about if end < 0 else about[: end + 1], text)
