"""Sections of a configuration: strict models of keys and values, and their faults with a place each."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from slo_budget_tracker.configfile import place_of_key, variable
from slo_budget_tracker.durations import parse_duration, parse_fine_duration
from slo_budget_tracker.errors import Fault, shown

if TYPE_CHECKING:
    from collections.abc import Mapping as MappingABC

    from pydantic import ValidationError

    from slo_budget_tracker.documents import Node

_SIZE = re.compile(r"([0-9]+)\s*(B|KiB|MiB|GiB)?")
_UNITS = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def seconds(value: Any) -> Any:
    """A duration with its unit (`10s`, `250ms`) or a bare number of seconds."""
    if isinstance(value, str):
        try:
            return float(parse_fine_duration(value))
        except ValueError:
            return float(value) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) else value
    return value


def _whole_seconds(value: Any) -> Any:
    if isinstance(value, str) and not value.isdigit():
        try:
            return parse_duration(value)
        except ValueError:
            raise ValueError("a duration such as 60s") from None
    return int(value) if isinstance(value, str) else value


def _bytes(value: Any) -> Any:
    if isinstance(value, str):
        found = _SIZE.fullmatch(value)
        if found is None:
            raise ValueError("a size such as 64MiB")
        return int(found[1]) * _UNITS[found[2]]
    return value


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=3_600)]
WholeSeconds = Annotated[int, BeforeValidator(_whole_seconds)]
Bytes = Annotated[int, BeforeValidator(_bytes), Field(ge=1_024, le=1 << 32)]


class Section(BaseModel):
    """Base of all sections: nothing unknown, nothing changed later, no value in a message."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def faults_of(
    failed: ValidationError,
    root: Node,
    model: type[Section],
    sources: MappingABC[tuple[str, ...], str] | None = None,
    alias: MappingABC[tuple[str, ...], tuple[str, ...]] | None = None,
) -> list[Fault]:
    """What a model refuses, each with its place in a document, or the variable that `sources` has for it.

    `alias` has the keys as the document has them where the model has others.
    """
    return [
        _fault(one, root, model, sources or {}, alias or {}) for one in failed.errors(include_input=False)
    ]


def _fault(
    error: Any,
    root: Node,
    model: type[Section],
    sources: MappingABC[tuple[str, ...], str],
    alias: MappingABC[tuple[str, ...], tuple[str, ...]],
) -> Fault:
    """One of pydantic's errors as a fault with its place; values are never repeated: they may be secrets."""
    keys = tuple(str(one) for one in error["loc"] if one != "[key]")
    for there, here in alias.items():
        if keys[: len(there)] == there:
            keys = (*here, *keys[len(there) :])
    unknown = error["type"] == "extra_forbidden"
    close = get_close_matches(keys[-1], _known_keys(model, keys[:-1]), n=1) if unknown else []
    for length in range(len(keys), 0, -1):
        name = sources.get(keys[:length])
        if name is not None and unknown:
            hint = f"did you mean {variable((*keys[:-1], close[0]))}?" if close else ""
            return Fault("environment", 1, 1, name, "a variable for an unknown key", "", hint)
        if name is not None:
            return Fault("environment", 1, 1, name, "a value that does not fit", _expected(error))
    place = place_of_key(root, keys, of_key=unknown)
    where, path = (place.file, place.line, place.column), ".".join(keys)
    if unknown:
        hint = f"did you mean {close[0]}?" if close else ""
        expected = f"one of {', '.join(_known_keys(model, keys[:-1]))}"
        return Fault(*where, path, f"the unknown key {shown(keys[-1])}", expected, hint)
    found = "nothing" if error["type"] == "missing" else "a value that does not fit"
    return Fault(*where, path, found, _expected(error))


def _known_keys(model: type[Section], section: tuple[str, ...]) -> list[str]:
    """The keys that a section may have."""
    at: Any = model
    for key in section:
        if get_origin(at) is dict:  # the names are the user's own
            at = get_args(at)[1]
            continue
        inner = _model(at)
        field = inner.model_fields.get(key) if inner is not None else None
        at = field.annotation if field is not None else None
    found = _model(at) if get_origin(at) is not dict else None
    return list(found.model_fields) if found is not None else []


def _model(annotation: Any) -> type[Section] | None:
    kinds = (annotation, *get_args(annotation))
    return next((one for one in kinds if isinstance(one, type) and issubclass(one, Section)), None)


_WORDS = {
    "tuple_type": "a list such as [one, two]",
    "list_type": "a list such as [one, two]",
    "string_type": "text",
    "path_type": "a path",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}


def _expected(error: Any) -> str:
    if error["type"] in {"model_type", "model_attributes_type", "dict_type"}:
        return "keys and values"
    if error["type"].startswith(("float", "int")):
        return "a number or a duration such as 10s"
    if error["type"] in _WORDS:
        return _WORDS[error["type"]]
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    return message[:1].lower() + message[1:]
