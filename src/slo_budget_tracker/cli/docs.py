"""`docs`: the manual, on the terminal."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slo_budget_tracker.cli.app import app
from slo_budget_tracker.errors import UsageError
from slo_budget_tracker.manual import pages


@app.command()
def docs(
    page: Annotated[
        str, typer.Argument(help="The page to show; none: the list of pages.", show_default=False)
    ] = "",
) -> None:
    """Show the manual: without a page the list of pages, with one its text (Markdown when piped).

    Example: `slo-budget-tracker docs slo-files`
    """
    if not page:
        _list()
        return
    found = pages().get(page)
    if found is None:
        close = get_close_matches(page, pages(), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"no page {page[:80]!r} in the manual, expected one of {', '.join(pages())}{hint}")
    from rich.markdown import Markdown  # noqa: PLC0415 - only here; every other command would wait for it

    console = Console()
    if console.is_terminal:
        console.print(Markdown(found.text))
    else:
        typer.echo(found.text)


def _list() -> None:
    table = Table(box=None, header_style="bold")
    for heading in ("page", "what it tells"):
        table.add_column(heading)
    for name, page in pages().items():
        table.add_row(name, escape(page.about or page.title))
    Console().print(table)
