"""Dashboards as Grafana would draw them: its components in Chromium, with the answers of a Prometheus.

    python -m tests.grafana.rendering PROMETHEUS FOLDER [--minutes 60] [--width 1440]

draws every dashboard with each choice of its variables, dark and light, into FOLDER. There is no Grafana server in it,
so what Grafana adds around panels (menus, variables, links, tooltips) is not seen.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.grafana.workshop import bundled
from tests.servers import chromium_binary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from playwright.sync_api import Browser, Page

DASHBOARDS = Path(__file__).parents[2] / "config" / "grafana" / "dashboards"
EVERYTHING = {"slo": ".*", "service": ".*", "job": ".*", "group": 'slo!=""'}
LEAST_STEP = 15  # seconds, the interval of Grafana's Prometheus datasource
COLUMNS = 24
MODES = ("dark", "light")
WAIT = 60_000  # milliseconds
PLACE = "http://grafana.test/"
NO_ICON = '<svg xmlns="http://www.w3.org/2000/svg"/>'  # the components ask a Grafana for theirs
HTML = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="panels.css"><body style="margin:0">
<div id="root"></div><script>window.SHOWN=%s;window.grafanaBootData={settings:{featureToggles:{}},user:{}};</script>
<script src="panels.js"></script>"""
DRAWN = """count => {
  const panels = [...document.querySelectorAll('#board > section')];
  return panels.length === count && panels.every(one => one.querySelector('canvas, pre, .no-data, [role=table], span, div div div'));
}"""


@dataclass(frozen=True)
class Choice:
    """A dashboard and what is chosen in its variables."""

    dashboard: str
    name: str
    chosen: dict[str, str] = field(default_factory=dict)

    def expression(self, text: str) -> str:
        """A query with the variables filled in."""
        values = EVERYTHING | self.chosen
        text = text.replace("${group:raw}", values["group"])
        for name, value in values.items():
            text = text.replace(f"${name}", value)
        return text


@dataclass(frozen=True)
class Look:
    """What was seen of a drawn dashboard."""

    picture: Path
    empty: list[str]  # panels without data
    texts: dict[str, str]  # what stands in a panel (graphs are canvases: their legends), by its title
    complaints: list[str]  # of the page: errors and warnings of components


def _ask(prometheus: str, path: str, **params: Any) -> list[dict[str, Any]]:
    answer = httpx.get(f"{prometheus}/api/v1/{path}", params=params, timeout=30, trust_env=False)
    answer.raise_for_status()
    series: list[dict[str, Any]] = answer.json()["data"]["result"]
    for one in series:
        one["metric"].pop("__name__", None)
        one["values"] = one.get("values") or [one["value"]]
    return series


def answered(choice: Choice, prometheus: str, *, now: float, minutes: float, width: int) -> dict[str, Any]:
    """The dashboard's panels with the answers to their queries."""
    panels = json.loads((DASHBOARDS / f"{choice.dashboard}.json").read_text())["panels"]
    end = now // LEAST_STEP * LEAST_STEP
    begin = end - 60 * minutes
    made = []
    for panel in panels:
        pixels = panel["gridPos"]["w"] * width / COLUMNS
        step = max(LEAST_STEP, (end - begin) / pixels // LEAST_STEP * LEAST_STEP)
        answers = []
        for target in panel["targets"]:
            query = choice.expression(target["expr"])
            if target.get("instant"):
                answers.append(_ask(prometheus, "query", query=query, time=end))
            else:
                answers.append(_ask(prometheus, "query_range", query=query, start=begin, end=end, step=step))
        made.append({"panel": panel, "answers": answers, "step": step})
    return {"panels": made, "range": [begin, end]}


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where there is a Chromium

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=chromium_binary(),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield chromium
        chromium.close()


def draw(page: Page, board: dict[str, Any], *, mode: str, picture: Path) -> Look:
    """Draw an answered dashboard and look at it."""
    script, styles = bundled()
    complaints: list[str] = []
    page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    shown = json.dumps({"board": board, "mode": mode}).replace("</", "<\\/")
    page.route("**/*", lambda route: route.fulfill(body=NO_ICON, content_type="image/svg+xml"))
    page.route(PLACE, lambda route: route.fulfill(body=HTML % shown, content_type="text/html"))
    page.route(f"{PLACE}panels.js", lambda route: route.fulfill(path=script))
    page.route(f"{PLACE}panels.css", lambda route: route.fulfill(path=styles))
    page.goto(PLACE)
    page.wait_for_function(DRAWN, arg=len(board["panels"]), timeout=WAIT)
    page.wait_for_timeout(500)  # milliseconds: canvases are painted a frame later
    page.screenshot(path=str(picture), full_page=True)
    texts = page.eval_on_selector_all(
        "#board > section", "all => Object.fromEntries(all.map(one => [one.ariaLabel, one.innerText]))"
    )
    empty = page.eval_on_selector_all(
        "#board > section:has(.no-data)", "all => all.map(one => one.ariaLabel)"
    )
    return Look(picture, empty, texts, complaints)


def drawn(
    prometheus: str,
    folder: Path,
    choices: Iterable[Choice],
    *,
    now: float,
    minutes: float = 60,
    width: int = 1_440,
    modes: Iterable[str] = MODES,
) -> list[Look]:
    """Draw dashboards with each choice, in each mode."""
    folder.mkdir(parents=True, exist_ok=True)
    looks = []
    with browser() as chromium:
        for choice in choices:
            board = answered(choice, prometheus, now=now, minutes=minutes, width=width)
            for mode in modes:
                page = chromium.new_page(viewport={"width": width, "height": 900})
                picture = folder / f"{choice.dashboard}-{choice.name}-{mode}.png"
                looks.append(draw(page, board, mode=mode, picture=picture))
                page.close()
    return looks


def choices_of(prometheus: str) -> list[Choice]:
    """Each dashboard with everything, one service, one SLO, one group, as this Prometheus has them."""
    at = {"time": time.time()}
    infos = [one["metric"] for one in _ask(prometheus, "query", query="slo_info", **at)]
    grouped = _ask(prometheus, "query", query="slo_target and on (slo) slo_rollup_target", **at)
    service = min((one["service"] for one in infos if one.get("service")), default=".*")
    groups = {one["metric"]["slo"] for one in grouped}
    single = min(one["slo"] for one in infos if one["slo"] not in groups)
    made = [
        Choice("daemon", "all"),
        Choice("overview", "all"),
        Choice("overview", "service", {"service": service}),
        Choice("overview", "one", {"slo": single}),
        Choice("slo", single, {"slo": single}),
    ]
    for one in sorted(grouped, key=str)[:1]:
        labels = {key: value for key, value in one["metric"].items() if key not in {"slo", "job", "instance"}}
        matchers = ", ".join(f'{key}="{value}"' for key, value in labels.items())
        made.append(Choice("overview", "grouped", {"slo": one["metric"]["slo"]}))
        made.append(Choice("slo", "groups", {"slo": one["metric"]["slo"]}))
        made.append(Choice("slo", "group", {"slo": one["metric"]["slo"], "group": matchers}))
    return made


def main() -> None:
    """Draw and say what was seen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prometheus")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--width", type=int, default=1_440)
    parser.add_argument("--slo", action="append", default=[], help="one more SLO to be shown in detail")
    asked = parser.parse_args()
    choices = choices_of(asked.prometheus) + [Choice("slo", name, {"slo": name}) for name in asked.slo]
    for look in drawn(
        asked.prometheus, asked.folder, choices, now=time.time(), minutes=asked.minutes, width=asked.width
    ):
        print(look.picture, "empty:", look.empty, *look.complaints)


if __name__ == "__main__":
    main()
