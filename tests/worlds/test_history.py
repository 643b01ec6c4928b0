"""The worlds themselves: what their truth says is what the server holds."""

from __future__ import annotations

import numpy as np
import pytest

from tests.worlds import catalogue
from tests.worlds.history import DAY, END, METRIC, SCRAPE, START


def differences(server, selector, *, start, end):
    """Events between samples of one target's series, a fall being a new process."""
    found = {}
    for labels, samples in server.ask_raw(f"{selector}[{end - start}s]", end):
        values = np.array([value for _, value in samples])
        steps = np.diff(values)
        found[labels["instance"], labels["code"]] = np.where(steps < 0, values[1:], steps).sum()
    return found


@pytest.mark.prometheus
def test_steady_world_answers_as_its_truth_says(worlds_server, worlds):
    """A day of plain differences over the steady world is the day the generator drew."""
    world = worlds["steady"]
    at = END - DAY
    found = sum(differences(worlds_server, world.total, start=at - DAY - SCRAPE, end=at).values())
    assert found == pytest.approx(world.truth(at, DAY, seen=True).total, rel=1e-3)


@pytest.mark.prometheus
def test_every_world_is_loaded_whole(worlds_server, worlds):
    """Every sample written is stored: per job the server counts as many as the generator wrote."""
    metrics = (METRIC, "up", "process_start_time_seconds")
    for world in worlds.values():
        expressions = [f'sum(count_over_time({m}{{job="{world.name}"}}[{END - START}s]))' for m in metrics]
        stored = sum(worlds_server.number(expression, END) for expression in expressions)
        assert world.samples == stored


def test_truth_by_event_and_by_scrape_agree_over_everything(worlds):
    """What happened visibly was seen by some scrape, no event more and none less."""
    for world in worlds.values():
        assert world.happened.sum(axis=1).tolist() == world.seen.sum(axis=1).tolist()


def test_worlds_are_the_same_each_time():
    """A generator gives the same samples and the same truth in every run."""
    one, two = catalogue.crashes(), catalogue.crashes()
    assert (one.happened == two.happened).all()
    assert [series.series for series in one.written] == [series.series for series in two.written]
    assert all((a.values == b.values).all() for a, b in zip(one.written, two.written, strict=True))


@pytest.mark.parametrize("generate", catalogue.GENERATORS, ids=lambda generate: generate.__name__)
def test_series_are_what_a_scrape_leaves(generate):
    """Times ascend by about one scrape or more, and no series starts before the history."""
    world = generate()
    for one in world.written:
        assert START * 1000 < one.times[0]
        assert one.times[-1] <= END * 1000
        assert np.diff(one.times, prepend=0).min() > (SCRAPE - 1) * 1000
