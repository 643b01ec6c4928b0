"""Assets: the files that pages load, all of them in memory; nothing else can be asked for (H6)."""

from __future__ import annotations

from hashlib import blake2b
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.views import prepare

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slo_budget_tracker.views import Content

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}


class Asset(NamedTuple):
    """A file ready to be sent; its address changes with its content."""

    content: Content
    media_type: str
    address: str


def templates() -> Mapping[str, str]:
    """The texts of all templates by name: an upgrade on disk changes no page of a daemon that runs."""
    folder = files("slo_budget_tracker").joinpath("templates")
    return {one.name: one.read_text(encoding="utf-8") for one in folder.iterdir() if one.is_file()}


def load() -> Mapping[str, Asset]:
    """All files of the package's folder `static`, by name."""
    found = {}
    for one in sorted(files("slo_budget_tracker").joinpath("static").iterdir(), key=lambda file: file.name):
        media_type = TYPES.get(one.name[one.name.rfind(".") :])
        if media_type is not None:
            body = one.read_bytes()
            version = blake2b(body, digest_size=6).hexdigest()
            found[one.name] = Asset(prepare(body), media_type, f"/static/{one.name}?{version}")
    return MappingProxyType(found)
