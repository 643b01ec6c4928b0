"""Reloads of real files by a real thread, over a Prometheus in memory."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from slo_budget_tracker import configuration
from slo_budget_tracker.backfill import Backfill
from slo_budget_tracker.configuration import Files
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.notifying import Notifier
from slo_budget_tracker.reloading import Reloader
from slo_budget_tracker.settings import load_settings
from slo_budget_tracker.watching import Watcher, watched
from tests.unit.cycling import begin, events, metric, ticks

SLO = """
  - name: {name}
    target: {target}
    window: 1d
    sli: {{requests: {{total: http_requests_total, bad: 'http_requests_total{{code="500"}}'}}}}
    alerts: none
"""
BROKEN = "slos:\n  - name: shop\n    target: 99.9\n"


def slos(*names, target="99%"):
    """A file with these SLOs."""
    return "slos:" + "".join(SLO.format(name=name, target=target) for name in names)


class Place:
    """A configuration on disk and a reloader over it."""

    def __init__(self, folder, *, allow_empty=False, settle=0.05, named="slos"):
        self.folder = folder
        self.slos = folder / "slos"
        self.slos.mkdir()
        self.config = folder / "tracker.yaml"
        self.config.write_text(
            f"slo_files: [{named}]\nevaluation: {{interval: 60s, delay: 30s}}\nledger: {{url: 'sqlite://'}}\n"
        )
        (self.slos / "shop.yaml").write_text(slos("shop"))
        self.files = Files(self.config, {}, allow_empty=allow_empty)
        read = self.files.read()
        self.cycle = begin(read.catalogue.slos)
        self.cycle.settings = read.settings
        self.reloader = Reloader(self.cycle, self.files, Notifier(), settle=settle, poll=0.1)

    def start(self):
        """Start the thread."""
        self.reloader.start(digest=self.files.digest(self.cycle.settings))
        return self

    def reload(self):
        """Ask for a reload and wait for what came of it."""
        return self.reloader.request().result(30)

    def names(self):
        """The SLOs that run."""
        return [slo.name for slo in self.cycle.evaluator.slos]

    def until(self, true):
        """Wait for something."""
        end = time.monotonic() + 30
        while not true():
            assert time.monotonic() < end
            time.sleep(0.01)

    def end(self):
        """Stop the thread."""
        self.cycle.stop.set()
        self.reloader.end()


@pytest.fixture
def place(tmp_path):
    """A running reloader."""
    one = Place(tmp_path).start()
    yield one
    one.end()


def test_a_reload_takes_all_over_and_says_what_changed(place):
    """C14: changes are told by name; what did not change is not."""
    (place.slos / "more.yaml").write_text(slos("queue", "basket"))
    done = place.reload()
    assert (200, 3, ["basket", "queue"]) == (done.status, done.slos, [change.slo for change in done.changes])
    assert (200, []) == ((again := place.reload()).status, again.changes)
    assert metric(place.cycle, "slo_budget_tracker_config_last_reload_successful 1")


def test_who_asks_for_a_reload_waits_less_than_who_saves_a_file(tmp_path):
    """C2: a file that was found changed must rest; who asks has written it, and it must only be the same twice."""
    one = Place(tmp_path, settle=3_600).start()
    (one.slos / "more.yaml").write_text(slos("queue"))
    assert (200, ["queue", "shop"]) == (one.reload().status, one.names())
    one.end()


def test_where_files_are_is_read_once_from_the_same_configuration_in_the_same_place(tmp_path, monkeypatch):
    """Who watches asks every other second; a changed text and a swapped link to the folder are seen all the same."""
    reads, load = [], configuration.load_settings
    monkeypatch.setattr(configuration, "load_settings", lambda *args: reads.append(args) or load(*args))
    for release in ("one", "two"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "tracker.yaml").write_text("slo_files: [slos]\n")
    link = tmp_path / "current"
    link.symlink_to(tmp_path / "one")
    files = Files(link / "tracker.yaml", {})
    running = load_settings(None, {})
    found = [files.paths(running) for _ in range(3)]
    link.unlink()
    link.symlink_to(tmp_path / "two")
    found += [files.paths(running)]
    (tmp_path / "two" / "tracker.yaml").write_text("slo_files: [other]\n")
    found += [files.paths(running)]
    (tmp_path / "two" / "tracker.yaml").write_text("slo_files: 7: [")
    found += [files.paths(running)]
    expected = [*["one/slos"] * 3, "two/slos", "two/other"]
    assert ([(tmp_path / one,) for one in expected] + [()], 4) == (found, len(reads))


def test_a_broken_file_keeps_what_runs(place):
    """C1: the whole old catalogue, a gauge, every fault with its place, ready as before; mended, it is taken over."""
    ticks(place.cycle, 1)
    (place.slos / "more.yaml").write_text(slos("queue"))
    (place.slos / "shop.yaml").write_text(BROKEN)
    done = place.reload()
    assert (400, ["shop"]) == (done.status, place.names())
    assert f"{place.slos}/shop.yaml:3:13: slos[0].target: the bare number 99.9" in done.faults[-1]
    view = place.cycle.publisher.display.view
    assert (tuple(done.faults), ()) == (view.faults, view.unready)
    assert metric(place.cycle, "slo_budget_tracker_config_last_reload_successful 0")
    (place.slos / "shop.yaml").write_text(slos("shop"))
    assert (200, ["queue", "shop"]) == (place.reload().status, place.names())
    assert () == place.cycle.publisher.display.view.faults


def test_the_configuration_itself_is_part_of_it(place):
    """Reload: SLO files and datasources are taken over, what needs a restart is named, a fault refuses all."""
    text = place.config.read_text()
    place.config.write_text(text.replace("60s", "30s") + "web: {listen: '127.0.0.1:1'}\n")
    done = place.reload()
    assert (["evaluation.interval", "web.listen"], 60) == (done.restart, place.cycle.evaluator.interval)
    old = place.cycle.sources["default"]
    place.config.write_text(text + "prometheus: {url: 'http://127.0.0.1:9'}\n")
    place.reload()
    assert ("http://127.0.0.1:9", True) == (place.cycle.sources["default"].address, old.closed)
    place.config.write_text(text + "colour: blue\n")
    assert "colour" in place.reload().faults[0]
    assert ["shop"] == place.names()


def test_a_corrections_file_that_is_gone_is_told(place, capsys):
    """The reload takes the rest over, says what is missing, in the log once, and again after it was there."""
    file = place.folder / "corrections.yaml"
    place.config.write_text(place.config.read_text() + "corrections_files: [corrections.yaml]\n")
    said = f"{file}:1:1: warning: corrections_files: no such file or folder"
    assert said in place.reload().warnings[0]
    place.reload()
    file.write_text("corrections: []\n")
    assert [] == place.reload().warnings
    file.unlink()
    place.reload()
    assert 2 == capsys.readouterr().out.count(said)


def test_a_name_that_runs_is_not_taken_by_a_newcomer(place):
    """C13: both files are named, the whole reload is refused, the definition that runs goes on."""
    running = place.cycle.evaluator.slos
    (place.slos / "a.yaml").write_text(slos("shop", target="90%"))
    done = place.reload()
    assert (400, running) == (done.status, place.cycle.evaluator.slos)
    assert all(name in "".join(done.faults) for name in ("a.yaml:2", "shop.yaml:2"))


def test_a_datasource_nobody_configured_is_refused(place):
    """A reload that a start would refuse is refused."""
    (place.slos / "shop.yaml").write_text(slos("shop") + "    datasource: eu\n")
    assert "no datasource named 'eu'" in place.reload().faults[0]


def test_a_file_that_is_still_written_waits(tmp_path):
    """C2: what is read has been the same for a while, whatever a part of it would mean."""
    place = Place(tmp_path, settle=0.5).start()
    text = slos("basket", "queue", "shop")
    with (place.slos / "shop.yaml").open("w") as file:
        for at in range(0, len(text), 60):
            file.write(text[at : at + 60])
            file.flush()
            place.reloader.hint()
            time.sleep(0.1)
            assert ["shop"] == place.names()
    place.until(lambda: len(place.names()) == 3 and not place.cycle.publisher.faults)
    changes = [event for event in events(place.cycle) if event[1] == "slo_retired"]
    assert [] == changes
    place.end()


def test_a_config_map_is_swapped_by_its_link(tmp_path):
    """C3: Kubernetes shows the next version by swapping one link; the watcher sees it, no version is mixed."""
    place = Place(tmp_path)
    shutil.rmtree(place.slos)
    place.slos.mkdir()
    for version in ("1", "2"):
        (place.slos / f"..{version}").mkdir()
        (place.slos / f"..{version}" / "shop.yaml").write_text(slos(*["shop", "queue"][: int(version)]))
    (place.slos / "..data").symlink_to("..1")
    (place.slos / "shop.yaml").symlink_to("..data/shop.yaml")
    place.reloader.poll = 60
    place.start()
    Watcher(lambda: [place.slos, place.config], place.reloader.hint, place.cycle.stop).start()
    assert ["shop"] == [change.slo for change in place.reload().changes] or ["shop"] == place.names()
    time.sleep(0.5)  # the watcher's first look
    (place.slos / "..tmp").symlink_to("..2")
    (place.slos / "..tmp").replace(place.slos / "..data")
    place.until(lambda: place.names() == ["queue", "shop"])
    place.end()


def test_a_folder_that_goes_and_comes_back(tmp_path):
    """C3: all files gone is refused and told; files that are there again are taken over, watched as before."""
    place = Place(tmp_path).start()
    Watcher(lambda: [place.slos, place.config], place.reloader.hint, place.cycle.stop).start()
    shutil.rmtree(place.slos)
    place.until(lambda: place.cycle.publisher.faults)
    assert ("no SLO file at all" in "".join(place.cycle.publisher.faults), ["shop"]) == (True, place.names())
    place.slos.mkdir()
    (place.slos / "new.yaml").write_text(slos("shop", "queue"))
    place.until(lambda: place.names() == ["queue", "shop"] and not place.cycle.publisher.faults)
    place.end()


@pytest.mark.parametrize("named", ["slos", "slos/*.yaml", "slos/shop.yaml"])
def test_all_files_may_go_where_that_is_allowed(tmp_path, named):
    """C3: with --allow-empty an empty catalogue is one; a folder that cannot be read is not empty."""
    place = Place(tmp_path, allow_empty=True, named=named).start()
    (place.slos / "shop.yaml").unlink()
    assert ([], ["shop"]) == ((done := place.reload()).faults, [change.slo for change in done.changes])
    assert ([], ("shop", "slo_retired")) == (place.names(), events(place.cycle)[-1])
    place.end()


def test_files_that_cannot_be_read_are_not_gone(tmp_path):
    """C21: a link that leads nowhere useful is a fault even where an empty catalogue is allowed."""
    place = Place(tmp_path, allow_empty=True).start()
    (place.slos / "shop.yaml").unlink()
    (place.slos / "shop.yaml").symlink_to("/proc/1/mem")
    assert (400, ["shop"]) == (place.reload().status, place.names())
    place.end()


class Adopting:
    """A cycle that takes catalogues over by another function."""

    def __init__(self, cycle, adopt):
        self.cycle = cycle
        self.adopt = adopt

    def __getattr__(self, name):
        return getattr(self.cycle, name)


def test_what_is_asked_while_a_reload_runs_is_one_further_reload(place):
    """C16, T8: however often; and whoever asked during the first one gets what the second one found."""
    runs, goes_on, adopted = threading.Event(), threading.Event(), []

    def held(settings, catalogue):
        runs.set()
        assert goes_on.wait(30)
        adopted.append(sorted(slo.name for slo in catalogue))
        return place.cycle.adopt(settings, catalogue)

    place.reloader.cycle = Adopting(place.cycle, held)
    first = place.reloader.request()
    assert runs.wait(30)
    (place.slos / "more.yaml").write_text(slos("queue"))
    others = [place.reloader.request() for _ in range(99)]
    goes_on.set()
    assert [1, *[2] * 99] == [one.result(30).slos for one in (first, *others)]
    assert [["shop"], ["queue", "shop"]] == adopted


def test_a_storm_of_reloads_is_few_and_drops_no_tick(place):
    """C16: of a hundred requests none makes a reload that served nobody, ticks go on between, each with one catalogue."""
    adopted, seen = [], set()

    def counting(settings, catalogue):
        adopted.append(len(catalogue))
        return place.cycle.adopt(settings, catalogue)

    place.reloader.cycle = Adopting(place.cycle, counting)
    began = place.cycle.last_at or place.cycle.now()
    stop = threading.Event()

    def tick():
        while not stop.is_set():
            place.cycle.clock.now += 60
            report = place.cycle.tick()
            seen.add(len(report.snapshots))

    ticking = threading.Thread(target=tick)
    ticking.start()
    waiting = []
    for turn in range(100):
        if turn % 33 == 0:
            (place.folder / "next").write_text(slos("queue") if turn % 2 else slos("queue", "basket"))
            (place.folder / "next").replace(place.slos / "more.yaml")
        waiting.append(place.reloader.request())
        time.sleep(0.005)
    results = [future.result(60) for future in waiting]
    stop.set()
    ticking.join(30)
    assert {200} == {one.status for one in results}
    served = len({id(one) for one in results})
    assert (
        served <= len(adopted) <= served + 4
    )  # what changed four times may have been seen before it was asked for
    assert ["queue", "shop"] == place.names()
    assert seen <= {1, 2, 3}
    ledger = place.cycle.evaluator.ledger
    elapsed = place.cycle.last_at - began
    assert elapsed == sum(ledger.outcomes(place.cycle.evaluator.ids["shop"]).values())


def test_a_ledger_in_trouble_is_tried_again(place, monkeypatch):
    """C21: what could not be written is taken over as soon as it can be, without anybody asking again."""
    commit = place.cycle.evaluator.ledger.commit

    def full(_):
        raise LedgerError("no space left on device")

    monkeypatch.setattr(place.cycle.evaluator.ledger, "commit", full)
    (place.slos / "more.yaml").write_text(slos("queue"))
    assert 503 == place.reload().status
    monkeypatch.setattr(place.cycle.evaluator.ledger, "commit", commit)
    place.until(lambda: place.names() == ["queue", "shop"])


def test_files_that_vanish_under_it_are_told_and_looked_for_again(place, monkeypatch):
    """C21: a file system that answers with an error is one sentence; once it is back, its changes are taken over."""
    gone = threading.Event()
    digest = place.files.digest.__func__

    def look(files, settings):
        if gone.is_set():
            raise OSError(116, "Stale file handle", "slos")
        return digest(files, settings)

    monkeypatch.setattr(Files, "digest", look)
    gone.set()
    assert [503, ["slos: cannot be read (Stale file handle)"]] == [
        place.reload().status,
        place.reload().faults,
    ]
    gone.clear()
    assert 200 == place.reload().status


def test_a_fault_of_ours_ends_nothing(place, monkeypatch):
    """T12: what runs goes on whatever a reload meets."""
    monkeypatch.setattr(Files, "read", lambda *_: 1 / 0)
    assert (500, ["shop"]) == (place.reload().status, place.names())
    monkeypatch.undo()
    assert 200 == place.reload().status


def test_a_new_slo_is_filled(place):
    """Reload: what comes by a reload gets its past, beside what is being filled."""
    backfill = Backfill(place.cycle)
    place.cycle.on_adoption = backfill.wake
    backfill.start()
    (place.slos / "more.yaml").write_text(slos("queue"))
    place.reload()
    ledger = place.cycle.evaluator.ledger
    place.until(
        lambda: all(
            ledger.history.span(instance) is not None for instance in place.cycle.evaluator.ids.values()
        )
    )
    place.until(lambda: place.cycle.filling == 0)
    place.end()
    backfill.join(20)


def test_what_is_watched(tmp_path):
    """C3: folders with all below them; of single files and patterns the nearest folder that is there."""
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    paths = [
        tmp_path / "link",
        tmp_path / "real" / "a.yaml",
        tmp_path / "gone" / "b.yaml",
        tmp_path / "*.yaml",
    ]
    assert [str(tmp_path / "real")] == watched(paths, deep=True)
    assert [str(tmp_path), str(tmp_path / "real")] == watched(paths, deep=False)


def test_watching_that_fails_is_told_once(tmp_path, monkeypatch):
    """C21: without the kernel's help files are looked at now and then; that is one line in the log."""
    place = Place(tmp_path).start()
    told = []
    monkeypatch.setattr("slo_budget_tracker.watching.watch", lambda *_, **__: 1 / 0)
    monkeypatch.setattr("slo_budget_tracker.watching.AFTER_FAILURE", 0.01)
    monkeypatch.setattr("slo_budget_tracker.watching.log.warning", lambda *_, **__: told.append(1))
    Watcher(lambda: [place.slos], place.reloader.hint, place.cycle.stop).start()
    (place.slos / "more.yaml").write_text(slos("queue"))
    place.until(lambda: place.names() == ["queue", "shop"])
    place.end()
    assert 1 == len(told)


def test_environment_without_a_file(tmp_path):
    """A configuration by environment alone reloads its SLO files too."""
    (tmp_path / "a.yaml").write_text(slos("shop"))
    files = Files(None, {"SLO_BUDGET_TRACKER_SLO_FILES": str(tmp_path / "a.yaml")})
    running = files.read().settings
    before = files.digest(running)
    os.utime(tmp_path / "a.yaml")
    assert before == files.digest(running)
    (tmp_path / "a.yaml").write_text(slos("queue"))
    assert before != files.digest(running)
    assert (Path(tmp_path / "a.yaml"),) == files.paths(running)


def test_files_that_were_saved_a_while_ago_are_not_waited_for(tmp_path, monkeypatch):
    """C2: only young files may still be being written; an SLO that did not change stays the very same."""
    place = Place(tmp_path, settle=30.0)
    (place.slos / "more.yaml").write_text(slos("queue"))
    before = place.cycle.evaluator.slos[0]
    later = time.time() + 60
    monkeypatch.setattr("slo_budget_tracker.reloading.time.time", lambda: later)
    place.start()
    assert (200, ["queue", "shop"]) == (place.reload().status, place.names())
    assert before is place.cycle.evaluator.slos[1]
    place.end()
