"""Makes the Grafana dashboards of config/grafana/dashboards: `python config/grafana/generate.py`.

A test sees to it that the committed JSON is what this makes, and that every query has an answer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import Dashboard

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
SLO = 'slo=~"$slo"'
OURS = 'job=~"$job"'
RED, AMBER, GREEN, BLUE = "red", "orange", "green", "blue"
LEAST = "min without (job, instance, pod)"  # replicas of the daemon are one


def query(expression: str, legend: str = "", *, as_table: bool = False) -> prometheus.Dataquery:
    """One query; tables and single values ask for the newest value only."""
    made = prometheus.Dataquery().datasource(SOURCE).expr(expression).legend_format(legend or "__auto")
    return made.instant().format("table") if as_table else made.range()


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


def figure(
    title: str, expression: str, *, unit: str = "short", colours: tuple[tuple[float | None, str], ...] = ()
) -> stat.Panel:
    """One number."""
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
    return made.thresholds(steps(*(colours or ((None, BLUE),))))


def graph(title: str, *queries: tuple[str, str], unit: str = "short", wide: bool = False) -> timeseries.Panel:
    """Lines over time."""
    made = (
        timeseries.Panel()
        .title(title)
        .datasource(SOURCE)
        .unit(unit)
        .height(9)
        .span(24 if wide else 12)
        .line_width(2)
        .fill_opacity(8)
        .show_points(shapes.VisibilityMode.NEVER)
        .tooltip(
            common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING)
        )
        .legend(
            common.VizLegendOptions()
            .display_mode(shapes.LegendDisplayMode.TABLE)
            .placement(shapes.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull"])
        )
    )
    for expression, legend in queries:
        made = made.with_target(query(expression, legend))
    return made


def board(uid: str, title: str, description: str) -> Dashboard:
    """An empty dashboard with the variable of the datasource."""
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["slo", "slo-budget-tracker"])
        .refresh("1m")
        .time("now-6h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("SLO dashboards")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["slo-budget-tracker"])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Datasource").type("prometheus"))
    )


def chosen(name: str, label: str, expression: str, *, many: bool = True) -> dashboard.QueryVariable:
    """A variable whose values are those of a label."""
    made = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(expression)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    return made.multi(True).include_all(True).all_value(".*") if many else made


def group_of_slo() -> dashboard.QueryVariable:
    """One of the SLO's groups, whatever labels tell them apart: the value is the matchers that choose it.

    All of them is a matcher that is always true; an SLO without groups has one group without matchers.
    """
    series = 'query_result(max without (job, instance, pod, slo) (slo_target{slo="$slo"}))'
    return (
        dashboard.QueryVariable("group")
        .label("Group")
        .datasource(SOURCE)
        .query(series)
        .regex("/{(.*)} /")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .include_all(True)
        .all_value('slo!=""')
    )


def whole(gauge: str, matchers: str) -> str:
    """A gauge of each SLO as a whole: of one with groups its roll-up, which has a name of its own."""
    rollup = gauge.replace("slo_", "slo_rollup_", 1)
    return f"(max by (slo) ({rollup}{{{matchers}}}) or min by (slo) ({gauge}{{{matchers}}}))"


def bars(title: str, expression: str, legend: str, *, span: int = 12) -> bargauge.Panel:
    """Budgets as bars."""
    return (
        bargauge.Panel()
        .title(title)
        .datasource(SOURCE)
        .unit("percentunit")
        .min(0)
        .max(1)
        .height(11)
        .span(span)
        .orientation(shapes.VizOrientation.HORIZONTAL)
        .display_mode(shapes.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(steps(*BUDGET))
        .with_target(query(expression, legend))
    )


def overview() -> Dashboard:
    """All SLOs: how many are how, budgets from the least on, burn rates, alerts."""
    of_service = '* on (slo) group_left (service) max by (slo, service) (slo_info{service=~"$service"})'
    budgets = whole("slo_error_budget_remaining", SLO)
    left = f"{budgets} {of_service}"
    return (
        board("slo-overview", "SLO overview", "Every SLO of slo-budget-tracker: budgets, burn rates, alerts.")
        .with_variable(chosen("service", "Service", "label_values(slo_info, service)"))
        .with_variable(chosen("slo", "SLO", 'label_values(slo_info{service=~"$service"}, slo)'))
        .with_panel(figure("SLOs", f"count(max by (slo) (slo_target{{{SLO}}}))"))
        .with_panel(figure("Alerts firing", f"sum(max without (job, instance, pod) (slo_burn_alert_firing{{{SLO}}}))",
                           colours=GOOD_IF_NONE))
        .with_panel(figure("Exhausted", f"count({budgets} <= 0) or vector(0)", colours=GOOD_IF_NONE))
        .with_panel(figure("Below 25%", f"count({budgets} < 0.25) or vector(0)", colours=((None, GREEN), (1.0, AMBER))))
        .with_panel(figure("Without data", f'count(max by (slo) (slo_data_state{{{SLO}, state=~"no_data|error"}}) == 1) or vector(0)',
                           colours=GOOD_IF_NONE))
        .with_panel(figure("Least budget left", f"min({budgets})", unit="percentunit", colours=BUDGET))
        .with_panel(bars("Error budget left, least first", f"sort({left})", "{{slo}}"))
        .with_panel(
            table.Panel()
            .title("SLOs")
            .datasource(SOURCE)
            .height(11)
            .span(12)
            .with_target(query(left, as_table=True).ref_id("left"))
            .with_target(query(whole("slo_success_ratio", SLO), as_table=True).ref_id("success"))
            .with_target(query(whole("slo_target", SLO), as_table=True).ref_id("target"))
            .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
            .with_transformation(
                models.DataTransformerConfig(
                    id_val="organize",
                    options={
                        "excludeByName": {"Time": True},
                        "renameByName": {
                            "Value #left": "Budget left", "Value #success": "Success ratio", "Value #target": "Target",
                            "slo": "SLO", "service": "Service",
                        },
                    },
                )
            )
            .unit("percentunit")
            .decimals(3)
        )
        .with_panel(graph("Error budget left", (left, "{{slo}}"), unit="percentunit"))
        .with_panel(graph("Highest burn rate of each SLO, over any of its windows and groups",
                          (f"max by (slo) (slo_burn_rate{{{SLO}}})", "{{slo}}"), unit="none"))
        .with_panel(bars("The 20 groups with the least budget left",
                         f"sort(bottomk(20, {LEAST} (slo_error_budget_remaining{{{SLO}}})))", "__auto"))
        .with_panel(graph("Alerts firing", (f"max by (slo, severity, long_window_seconds) (slo_burn_alert_firing{{{SLO}}}) == 1 or max by (slo) (slo_burn_alert_firing{{{SLO}}}) * 0",
                                            "{{slo}} {{severity}} {{long_window_seconds}} s")))
    )  # fmt: skip


def detail() -> Dashboard:
    """One SLO as a whole or one of its groups, and all groups beside each other."""
    one = 'slo="$slo", ${group:raw}'

    def alone(gauge: str) -> str:
        return f"max({whole(gauge, one)})"

    return (
        board("slo-detail", "SLO", "One SLO: budget, burn rates against their factors, alerts, coverage, groups.")
        .with_variable(chosen("service", "Service", "label_values(slo_info, service)"))
        .with_variable(chosen("slo", "SLO", 'label_values(slo_info{service=~"$service"}, slo)', many=False))
        .with_variable(group_of_slo())
        .with_panel(figure("Objective", alone("slo_target"), unit="percentunit"))
        .with_panel(figure("Success ratio", alone("slo_success_ratio"), unit="percentunit"))
        .with_panel(figure("Budget left", alone("slo_error_budget_remaining"), unit="percentunit", colours=BUDGET))
        .with_panel(figure("Events that may fail", alone("slo_error_budget_events_remaining"), colours=((None, RED), (0.0, GREEN))))
        .with_panel(figure("Runs out in", f"{alone('slo_error_budget_exhaustion_seconds')} or vector(NaN)", unit="s"))
        .with_panel(figure("Alerts firing", f"sum(max without (job, instance, pod) (slo_burn_alert_firing{{{one}}}))", colours=GOOD_IF_NONE))
        .with_panel(graph("Error budget left, with its bounds",
                          (alone("slo_error_budget_remaining"), "left"),
                          (f"max by (bound) (slo_rollup_error_budget_remaining_bound{{{one}}}) or min by (bound) (slo_error_budget_remaining_bound{{{one}}})", "{{bound}}"), unit="percentunit"))
        .with_panel(graph("Burn rates by window (s)",
                          (f"max by (window_seconds) (slo_rollup_burn_rate{{{one}}}) or max by (window_seconds) (slo_burn_rate{{{one}}})", "{{window_seconds}}"), unit="none"))
        .with_panel(graph("Success ratio and objective",
                          (alone("slo_success_ratio"), "success"), (alone("slo_target"), "objective"), unit="percentunit"))
        .with_panel(graph("Events and failures in the window", (alone("slo_total"), "events"), (alone("slo_failures_total"), "failures")))
        .with_panel(graph("Alerts", (f"max by (severity, long_window_seconds, short_window_seconds) (slo_burn_alert_firing{{{one}}})",
                                     "{{severity}} {{long_window_seconds}}/{{short_window_seconds}} s")))
        .with_panel(graph("Coverage of windows (s)", (f"min by (window_seconds) (slo_window_coverage_ratio{{{one}}})", "{{window_seconds}}"), unit="percentunit"))
        .with_panel(graph("State of the data", (f"max by (state) (slo_data_state{{{one}}})", "{{state}}")))
        .with_panel(graph("Age of the data", (f"max(slo_data_age_seconds{{{one}}})", "age"), unit="s"))
        .with_panel(bars("Groups, the 20 with the least budget left",
                         f'sort(bottomk(20, {LEAST} (slo_error_budget_remaining{{slo="$slo"}})))', "__auto"))
        .with_panel(graph("Highest burn rate of each group over any window, the 10 highest",
                          ('topk(10, max without (job, instance, pod, slo, window_seconds) (slo_burn_rate{slo="$slo"}))', "__auto"), unit="none"))
    )  # fmt: skip


def daemon() -> Dashboard:
    """The daemon itself: ticks, requests, what it read, ledger, outbox."""
    own = "slo_budget_tracker"
    return (
        board("slo-budget-tracker", "slo-budget-tracker itself", "The daemon: ticks, requests, ledger, outbox.")
        .with_variable(chosen("job", "Job", f"label_values({own}_build_info, job)"))
        .with_panel(figure("SLOs", f"max({own}_slos{{{OURS}}})"))
        .with_panel(figure("Since the last tick", f"time() - max({own}_last_tick_timestamp_seconds{{{OURS}}})", unit="s", colours=((None, GREEN), (180.0, AMBER), (300.0, RED))))
        .with_panel(figure("Files loaded", f"min({own}_config_last_reload_successful{{{OURS}}})", colours=GOOD_IF_ONE))
        .with_panel(figure("Datasources reached", f"min({own}_prometheus_up{{{OURS}}})", colours=GOOD_IF_ONE))
        .with_panel(figure("Events waiting", f"max({own}_outbox_pending{{{OURS}}}) or vector(0)"))
        .with_panel(figure("Ticks to catch up", f"max({own}_backfill_pending_ticks{{{OURS}}})"))
        .with_panel(graph("Ticks by outcome", (f"sum by (outcome) (rate({own}_ticks_total{{{OURS}}}[5m]))", "{{outcome}}"), unit="ops"))
        .with_panel(graph("Seconds of a tick",
                          (f"histogram_quantile(0.5, sum by (le) (rate({own}_tick_duration_seconds_bucket{{{OURS}}}[10m])))", "median"),
                          (f"histogram_quantile(0.99, sum by (le) (rate({own}_tick_duration_seconds_bucket{{{OURS}}}[10m])))", "99 %"), unit="s"))
        .with_panel(graph("Requests to Prometheus", (f"sum by (datasource, outcome) (rate({own}_prometheus_requests_total{{{OURS}}}[5m]))", "{{datasource}} {{outcome}}"), unit="reqps"))
        .with_panel(graph("Samples read", (f"sum by (datasource) (rate({own}_samples_read_total{{{OURS}}}[5m]))", "{{datasource}}"), unit="cps"))
        .with_panel(graph("Ledger", (f"max({own}_ledger_size_bytes{{{OURS}}})", "on disk"), unit="bytes"))
        .with_panel(graph("Memory", (f"max(process_resident_memory_bytes{{{OURS}}})", "resident"), unit="bytes"))
        .with_panel(graph("Troubles",
                          (f"sum(increase({own}_ticks_missed_total{{{OURS}}}[10m]))", "ticks missed"),
                          (f"sum(increase({own}_store_errors_total{{{OURS}}}[10m]))", "store errors"),
                          (f"sum(increase({own}_clock_jumps_total{{{OURS}}}[10m])) or vector(0)", "clock jumps")))
        .with_panel(graph("Counting doubts", (f"sum by (kind) (increase({own}_counting_doubts_total{{{OURS}}}[10m])) or vector(0)", "{{kind}}")))
    )  # fmt: skip


BOARDS = {"overview": overview, "slo": detail, "daemon": daemon}


def generated() -> dict[str, str]:
    """The text of each file by its name."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    boards = {name: json.loads(encoder.encode(make().build())) for name, make in BOARDS.items()}
    return {f"{name}.json": json.dumps(as_typed(board), indent=1) + "\n" for name, board in boards.items()}


def as_typed(board: dict[str, Any]) -> dict[str, Any]:
    """The dashboard as the types of Grafana's own schema have it, which the SDK does not keep to everywhere."""
    for variable in board["templating"]["list"]:
        for key in ("auto", "auto_count", "auto_min"):  # of intervals only
            variable.pop(key, None)
    for panel in board["panels"]:
        if panel["type"] == "table":
            panel.get("options", {}).pop("footer", None)
            panel["fieldConfig"]["defaults"].setdefault("custom", {})["cellOptions"] = {"type": "auto"}
    return board


if __name__ == "__main__":
    for name, text in generated().items():
        (FOLDER / name).write_text(text)
