"""The configuration before it has a shape: the file's nodes, what may not stand in it, the environment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from slo_budget_tracker.documents import Broken, Kind, Mapping, Node, Scalar, Sequence, read_documents, trap
from slo_budget_tracker.errors import Fault, SettingsError, shown
from slo_budget_tracker.fields import is_secret, looks_secret
from slo_budget_tracker.filesets import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping as MappingABC
    from pathlib import Path

PREFIX = "SLO_BUDGET_TRACKER_"
KNOWN_ELSEWHERE: dict[str, tuple[str, ...]] = {
    "PROMETHEUS_URL": ("prometheus", "url"),
    "AUDIT_STREAM_URL": ("audit", "url"),
    "AUDIT_STREAM_TIMEOUT_S": ("audit", "timeout"),
}
NAMES_OF_PEOPLE = {"web.basic_auth_users"}  # keys below are names, whatever they look like
# Kubernetes gives these to every pod beside a service named slo-budget-tracker; they are no settings of ours.
_SERVICE_LINKS = re.compile(r"SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)?")
_USER_IN_URL = re.compile(r"://[^/\s@]*@")
_PASSWORD_IN_URL = re.compile(r"://[^/\s@]*:[^/\s]*@|[?&]password=")
_SECRETS_GO = "name a file (`…_file`) or set it by environment"


def read_config(path: Path) -> Mapping:
    """The file's single document with keys.

    Raises:
        SettingsError: it cannot be read, or is no such document.
    """
    text = read_text(path)
    if isinstance(text, Fault):
        raise SettingsError([text])
    reading = read_documents(text, file=str(path))
    if not reading.documents and not reading.faults:
        return Mapping(str(path), 1, 1, "", {}, {})
    if len(reading.documents) == 1 and isinstance(reading.documents[0], Mapping):
        root = reading.documents[0]
        if reading.faults:
            raise SettingsError(sorted({*reading.faults, *strange(root)}))
        return root
    expected = "one document with keys such as `prometheus:`"
    place = reading.documents[-1] if reading.documents else None
    raise SettingsError(reading.faults or ([place.fault("something else", expected)] if place else []))


def strange(node: Node, keys: tuple[str, ...] = ()) -> Iterator[Fault]:
    """What may not stand in a configuration file: secrets and traps of YAML 1.1."""
    if isinstance(node, Mapping):
        for key, value in node.values.items():
            if ".".join(keys) in NAMES_OF_PEOPLE:
                yield from strange(value, (*keys, key))
            elif is_secret(key) and not isinstance(value, Mapping):
                yield node.keys[key].fault("a secret", "none in this file", _SECRETS_GO, path=key)
            elif (*keys, key) == ("ledger", "url") and isinstance(value, Scalar):
                yield from _strange_database(value)
            else:
                yield from strange(value, (*keys, key))
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from strange(item, keys)
    elif isinstance(node, Scalar):
        yield from _strange_value(node)


def _strange_database(node: Scalar) -> Iterator[Fault]:
    """A database's address may name a user."""
    if _PASSWORD_IN_URL.search(node.text):
        yield node.fault("a URL with a user's password in it", "a URL without one", _SECRETS_GO)


def _strange_value(node: Scalar) -> Iterator[Fault]:
    if looks_secret(node.text):
        yield node.fault("what looks like a secret", "none in this file", _SECRETS_GO)
    elif _USER_IN_URL.search(node.text):
        yield node.fault("a URL with a user in it", "a URL without one", _SECRETS_GO)
    elif node.kind is Kind.TRAP:
        yield node.fault(f"{shown(node.text)}, {trap(node.text)}", "", "quote it if it is meant as text")


def plain(node: Node) -> Any:
    """Nodes as plain values; numbers stay text, the models know what each key wants."""
    match node:
        case Mapping():
            return {key: plain(value) for key, value in node.values.items()}
        case Sequence():
            return [plain(item) for item in node.items]
        case Scalar():
            return None if node.kind is Kind.NULL else node.text
        case Broken() | _:
            return None


def overlay(data: dict[str, Any], env: MappingABC[str, str]) -> dict[tuple[str, ...], str]:
    """Put the environment's values over the file's; returns which variable gave which key."""
    sources: dict[tuple[str, ...], str] = {}
    given = {keys: (name, env[name]) for name, keys in KNOWN_ELSEWHERE.items() if env.get(name)}
    if isinstance(data.get("datasources"), dict):
        given.pop(("prometheus", "url"), None)  # named datasources say where they are
    for name, value in sorted(env.items()):
        if name.startswith(PREFIX) and not _SERVICE_LINKS.fullmatch(name.removeprefix(PREFIX)):
            given[tuple(name.removeprefix(PREFIX).lower().split("__"))] = (name, value)
    for keys, (name, value) in given.items():
        at = data
        for key in keys[:-1]:
            inner = at.get(key)
            if not isinstance(inner, dict):
                inner = at[key] = {}
            at = inner
        at[keys[-1]] = value.split(",") if keys in {("slo_files",), ("corrections_files",)} else value
        sources[keys] = name
    return sources


def variable(keys: tuple[str, ...]) -> str:
    """The name of the environment variable that sets a key."""
    return PREFIX + "__".join(keys).upper()


def place_of_key(root: Node, keys: tuple[str, ...], *, of_key: bool = False) -> Node:
    """The node that keys lead to, the nearest one above where it is missing; or the last key itself."""
    node = root
    for at, key in enumerate(keys):
        if isinstance(node, Mapping) and key in node.values:
            node = node.keys[key] if of_key and at == len(keys) - 1 else node.values[key]
        elif isinstance(node, Sequence) and key.isdigit() and int(key) < len(node.items):
            node = node.items[int(key)]
        else:
            break
    return node
