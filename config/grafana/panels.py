"""The kinds of panels that the dashboards are made of: figures, graphs, bars."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models

from slo_budget_tracker.durations import format_duration

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
RED, AMBER, GREEN, BLUE = "red", "orange", "green", "blue"

MINUTE, HOUR, DAY = 60, 3_600, 86_400
SPANS = {
    seconds: format_duration(seconds)
    for unit, numbers in (
        (MINUTE, (1, 2, 3, 5, 10, 15, 20, 30)),
        (HOUR, (1, 2, 3, 4, 6, 8, 12)),
        (DAY, (1, 2, 3, 5, 7, 14, 28, 30, 60, 90, 91, 180, 365)),
    )
    for seconds in (unit * number for number in numbers)
}


def query(
    expression: str, legend: str = "", *, as_table: bool = False, newest: bool = False
) -> prometheus.Dataquery:
    """One query; tables and bars ask for the newest value only, so that the query's order is kept."""
    made = prometheus.Dataquery().datasource(SOURCE).expr(expression).legend_format(legend or "__auto")
    if as_table:
        return made.instant().format("table")
    return made.instant() if newest else made.range()


def steps(*pairs: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    """Colours from values on."""
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in pairs])
    )


BUDGET = ((None, RED), (0.0, AMBER), (0.25, GREEN))
GOOD_IF_NONE = ((None, GREEN), (1.0, RED))
GOOD_IF_ONE = ((None, RED), (1.0, GREEN))
EXPIRY = ((None, RED), (7.0, AMBER), (14.0, GREEN))  # days; the log warns from two weeks before
YES_OR_NO = [
    models.ValueMap({"0": models.ValueMappingResult(text="no"), "1": models.ValueMappingResult(text="yes")})
]


def figure(
    title: str,
    expression: str,
    *,
    unit: str = "short",
    colours: tuple[tuple[float | None, str], ...] = ((None, BLUE),),
    decimals: int | None = None,
    nothing: str = "",
    says: str = "",
) -> stat.Panel:
    """One number; `nothing` stands where there is none."""
    made = (
        stat.Panel()
        .title(title)
        .datasource(SOURCE)
        .unit(unit)
        .height(4)
        .span(4)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(query(expression, title))
    )
    if decimals is not None:
        made = made.decimals(decimals)
    if nothing:
        made = made.mappings(
            [
                models.SpecialValueMap(
                    options=models.DashboardSpecialValueMapOptions(
                        match=models.SpecialValueMatch.NULL_AND_NAN,
                        result=models.ValueMappingResult(text=nothing, color="text"),
                    )
                )
            ]
        )
    if says:
        made = made.description(says)
    return made.thresholds(steps(*colours))


def whether(title: str, expression: str) -> stat.Panel:
    """Yes in green or no in red."""
    return figure(title, expression, colours=GOOD_IF_ONE).mappings(YES_OR_NO)


def graph(
    title: str, *queries: tuple[str, str], unit: str = "short", decimals: int | None = None, says: str = ""
) -> timeseries.Panel:
    """A few lines over time, with their last values below."""
    made = (
        timeseries.Panel()
        .title(title)
        .datasource(SOURCE)
        .unit(unit)
        .height(9)
        .span(12)
        .line_width(2)
        .fill_opacity(8)
        .show_points(shapes.VisibilityMode.NEVER)
        .tooltip(
            common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING)
        )
        .legend(
            common.VizLegendOptions()
            .display_mode(shapes.LegendDisplayMode.LIST)
            .placement(shapes.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull"])
        )
    )
    for expression, legend in queries:
        made = made.with_target(query(expression, legend))
    if decimals is not None:
        made = made.decimals(decimals)
    return made.description(says) if says else made


def many(title: str, *queries: tuple[str, str], least: bool = False, **more: Any) -> timeseries.Panel:
    """Many lines over time: nothing is filled, and the legend beside them begins with the worst."""
    return (
        graph(title, *queries, **more)
        .fill_opacity(0)
        .legend(
            common.VizLegendOptions()
            .display_mode(shapes.LegendDisplayMode.TABLE)
            .placement(shapes.LegendPlacement.RIGHT)
            .show_legend(True)
            .calcs(["lastNotNull"])
            .sort_by("Last *")
            .sort_desc(not least)
        )
    )


def unsummed(panel: timeseries.Panel) -> timeseries.Panel:
    """With a legend of names alone: the last value of a line that ended is no news."""
    return panel.legend(
        common.VizLegendOptions()
        .display_mode(shapes.LegendDisplayMode.LIST)
        .placement(shapes.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )


def switches(title: str, *queries: tuple[str, str], **more: Any) -> timeseries.Panel:
    """Counts that change in steps: whole numbers from 0 on, never a slope between two of them."""
    made = graph(title, *queries, **more)
    return made.line_interpolation(shapes.LineInterpolation.STEP_AFTER).min(0).axis_soft_max(1).decimals(0)


def bars(title: str, expression: str, legend: str) -> bargauge.Panel:
    """Budgets as bars, in the order of the query."""
    return (
        bargauge.Panel()
        .title(title)
        .datasource(SOURCE)
        .unit("percentunit")
        .min(0)
        .max(1)
        .decimals(1)
        .height(12)
        .span(12)
        .min_viz_height(16)
        .max_viz_height(32)
        .text(common.VizTextDisplayOptions().title_size(12).value_size(14))
        .orientation(shapes.VizOrientation.HORIZONTAL)
        .display_mode(shapes.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(steps(*BUDGET))
        .with_target(query(expression, legend, newest=True))
    )


def window(title: str, expression: str) -> stat.Panel:
    """A span as files have it: Grafana would say 4.29 weeks for 30d."""
    words = models.ValueMap(
        {str(seconds): models.ValueMappingResult(text=text) for seconds, text in SPANS.items()}
    )
    return figure(title, expression, unit="s").mappings([words])


def renamed(panel: Any, pattern: str, words: str) -> Any:
    """Lines or bars whose names have the pattern, under other words."""
    options = {"regex": pattern, "renamePattern": words}
    return panel.with_transformation(models.DataTransformerConfig(id_val="renameByRegex", options=options))


def spelled(panel: Any) -> Any:
    """Windows in names as files have them: 1h/5m instead of 3600 s/300 s; unusual ones stay seconds."""
    for seconds, text in SPANS.items():
        panel = renamed(panel, rf"/(?<=^|[ \/]){seconds} s(?=$|\/)/", text)
    return panel


def linked(title: str, name: str) -> list[dict[str, str]]:
    """What a click opens: the dashboard of one SLO, over the same time."""
    address = f"/d/slo-detail?${{datasource:queryparam}}&var-slo={name}&${{__url_time_range}}"
    return [{"title": title, "url": address}]


def column(name: str, *properties: tuple[str, object]) -> tuple[str, list[models.DynamicConfigValue]]:
    """What is special about a column of a table, or a line of a graph."""
    return name, [models.DynamicConfigValue(id_val=key, value=value) for key, value in properties]


def named(panel: Any) -> Any:
    """Groups of many SLOs by what tells them apart: `a="b" of slo` instead of `{a="b", slo="slo"}`."""
    for pattern, words in (
        (r'\{(.*), slo="([^"]*)"(.*)\}', "$1$3 of $2"),
        (r'\{slo="([^"]*)", (.*)\}', "$2 of $1"),
    ):
        panel = renamed(panel, pattern, words)
    return panel
