"""`annotate`: a deploy or an incident, told to a running daemon from a pipeline."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from slo_budget_tracker.cli.app import ConfigOption, app, settings_of
from slo_budget_tracker.connection import tls_context
from slo_budget_tracker.errors import PrometheusError, UsageError
from slo_budget_tracker.remote import address_of
from slo_budget_tracker.transport import mapped

HERE = "http://localhost:9724"
OUT_OF_REACH = PrometheusError.exit_status
TOKEN = "SLO_ANNOTATIONS_TOKEN"  # noqa: S105 - the variable's name


class Kind(StrEnum):
    """What happened."""

    deploy = "deploy"
    incident = "incident"
    note = "note"


@app.command()
def annotate(
    text: Annotated[str, typer.Argument(help="What people read, such as 'shop 1.42.0'.")],
    *,
    config: ConfigOption = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url", help=f"The daemon's address; else `daemon.url` of the configuration, else {HERE}."
        ),
    ] = None,
    kind: Annotated[Kind, typer.Option("--kind", help="What happened.")] = Kind.deploy,
    slo: Annotated[
        list[str] | None, typer.Option("--slo", help="An SLO it is about, or a glob; may be repeated.")
    ] = None,
    service: Annotated[str, typer.Option("--service", help="A service it is about.")] = "",
    at: Annotated[
        str | None, typer.Option("--at", help="When: RFC 3339, epoch seconds or -10m; now if not given.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="When it was over.")] = None,
    link: Annotated[str | None, typer.Option("--link", help="Where there is more, http(s).")] = None,
    author: Annotated[str, typer.Option("--author", help="Who says so.")] = "",
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help=f"The token's file; else ${TOKEN}.", show_default=False),
    ] = None,
) -> None:
    """Set a mark on the charts of SLOs: a deploy, an incident, a note. Status 3: the daemon is out of reach.

    Example: `slo-budget-tracker annotate --url http://localhost:9724 --service checkout "checkout 1.42.0"`
    """
    mark = {"kind": kind.value, "text": text, "slos": slo or [], "service": service, "author": author}
    mark |= {name: given for name, given in (("at", at), ("until", until), ("link", link)) if given}
    daemon = settings_of(config).daemon
    daemon = daemon.model_copy(update={"url": url or daemon.url or HERE})
    address = f"{address_of(daemon)}/api/v1/annotations"
    headers = {"authorization": f"Bearer {_token(token_file)}"}
    try:
        with mapped():
            reply = httpx.post(
                address,
                json=mark,
                headers=headers,
                timeout=daemon.timeout,
                follow_redirects=False,
                verify=tls_context(daemon) or True,
            )
    except PrometheusError as error:
        sys.stderr.write(f"the daemon at {address_of(daemon)}: {error}\n")
        raise typer.Exit(OUT_OF_REACH) from error
    body = _body(reply)
    if reply.status_code not in {httpx.codes.OK, httpx.codes.CREATED} or "id" not in body:
        unknown = f"no slo-budget-tracker answers there (status {reply.status_code}): check the address"
        sentence = f"the daemon at {address_of(daemon)}: {body.get('detail') or unknown}"
        if reply.is_client_error and "detail" in body:
            raise UsageError(sentence)
        sys.stderr.write(f"{sentence}\n")
        raise typer.Exit(OUT_OF_REACH)
    said = "set" if reply.status_code == httpx.codes.CREATED else "was there already"
    typer.echo(f"{body['kind']} at {body['at']} {said}: {body['id']}")


def _token(path: Path | None) -> str:
    if path is None:
        token = os.environ.get(TOKEN, "").strip()
        if not token:
            raise UsageError(f"no token, expected --token-file or ${TOKEN}")
    else:
        try:
            token = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise UsageError(f"--token-file: {path} cannot be read: {reason}") from error
    if not token.isascii() or not token.isprintable():
        raise UsageError("the token has characters that no header can have")
    return token


def _body(reply: httpx.Response) -> dict[str, Any]:
    try:
        found = reply.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
