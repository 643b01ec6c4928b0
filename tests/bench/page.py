"""How soon the list is there and answers, with thousands of SLOs, in a real Chromium on a wide screen and on a phone.

    python -m tests.bench.page [--slos 2000] [--times 12]

The showcase's eight services, each under many names, with a month of history behind every sparkline. Measured from
the start of the navigation, each time after a tick, so that nothing is ready made: the first paint, then interactive
(it is painted, everything is parsed, scripts have run, and no task of more than 50 ms comes after). Then what one key in the search
field takes until the list has changed. A phone is the same with a processor four times slower and 390 px.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.pages.showcase import SERVICES, Showcase
from tests.servers import chromium_binary

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SCREENS = {"wide screen": (1440, 900, 1), "phone": (390, 844, 4)}
READ = """() => {
  const [entry] = performance.getEntriesByType("navigation");
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  const busy = (window.tasks || []).map((one) => one.startTime + one.duration);
  const painted = paint ? paint.startTime : entry.domContentLoadedEventEnd;
  return {
    answered: entry.responseEnd - entry.requestStart,
    paint: painted,
    interactive: Math.max(painted, entry.domContentLoadedEventEnd, ...busy),
    bytes: entry.transferSize,
  };
}"""
WATCH = "window.tasks = []; new PerformanceObserver((all) => window.tasks.push(...all.getEntries())).observe({ type: 'longtask', buffered: true });"
FILTERED = "document.querySelectorAll('.slos tbody tr').length"


@dataclass
class Many(Showcase):
    """The showcase's services, each as many SLOs."""

    size: int = 2_000

    def tick_many(self) -> None:
        """A tick: all snapshots are new."""
        self.slos = [one.slo for one in self.services]
        once = list(zip(self.snapshots(), self.slos, strict=True))
        shown, slos = [], []
        for number in range(self.size):
            snapshot, slo = once[number % len(once)]
            name = f"{slo.name}-{number // len(once):03d}"
            self.ids[name] = self.ids[slo.name]
            shown.append(snapshot._replace(name=name))
            slos.append(slo.model_copy(update={"name": name}))
        self.slos = slos
        self.publish(shown)


def measure(browser: Browser, showcase: Many, url: str, *, screen: str, times: int) -> dict[str, list[float]]:
    """The figures of each opening, milliseconds."""
    width, height, slower = SCREENS[screen]
    found: dict[str, list[float]] = {}
    for _ in range(times):
        showcase.tick_many()
        context = browser.new_context(viewport={"width": width, "height": height})
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Emulation.setCPUThrottlingRate", {"rate": slower})
        page.add_init_script(WATCH)
        page.goto(url, wait_until="load")
        page.wait_for_timeout(400)
        figures: dict[str, Any] = page.evaluate(READ)
        figures["key"] = _typed(page)
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
        context.close()
    return found


def _typed(page: Any) -> float:
    """Milliseconds from a key in the search field until the list has changed; the wait for further keys included."""
    page.evaluate(
        "() => { const list = document.getElementById('slos'); const begun = { at: 0 };"
        " document.getElementById('q').addEventListener('input', () => { begun.at ||= performance.now(); });"
        " new MutationObserver(() => { window.took ||= performance.now() - begun.at; }).observe(list, { childList: true }); }"
    )
    page.locator("#q").type("7")
    for _ in range(200):
        took = page.evaluate("window.took || 0")
        if took:
            return float(took)
        page.wait_for_timeout(20)
    raise AssertionError("the list does not follow the search")


def run(*, slos: int, times: int) -> dict[str, dict[str, list[float]]]:
    """All figures by screen."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where there is a Chromium

    showcase = Many(services=SERVICES, size=slos)
    server = showcase.serve()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium_binary(),
                args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
            )
            return {
                screen: measure(browser, showcase, server.url, screen=screen, times=times)
                for screen in SCREENS
            }
    finally:
        server.stop()


def markdown(found: dict[str, dict[str, list[float]]], *, slos: int) -> str:
    """The table."""
    names = (
        ("answered", "the server's answer"),
        ("paint", "first paint"),
        ("interactive", "interactive"),
        ("key", "a key in the search field, until the list has changed"),
    )
    lines = [
        f"The list with {slos:,} SLOs, median (slowest)",
        "",
        f"| from opening it to | {' | '.join(found)} |",
        f"|---|{'--:|' * len(found)}",
    ]
    for key, name in names:
        cells = (f"{statistics.median(one[key]):.0f} ms ({max(one[key]):.0f})" for one in found.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    sizes = (f"{statistics.median(one['bytes']) / 1_000:.0f} kB" for one in found.values())
    lines.append(f"| the page, as it is sent | {' | '.join(sizes)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slos", type=int, default=2_000)
    parser.add_argument("--times", type=int, default=12, help="openings per screen")
    arguments = parser.parse_args()
    print(markdown(run(slos=arguments.slos, times=arguments.times), slos=arguments.slos))


if __name__ == "__main__":
    main()
