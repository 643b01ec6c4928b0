"""Makes the Grafana dashboards of config/grafana/dashboards: `python config/grafana/generate.py`.

A test sees to it that the committed JSON is what this makes, and that every query has an answer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders import common, dashboard, table
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from panels import (
    AMBER,
    BLUE,
    BUDGET,
    EXPIRY,
    GOOD_IF_NONE,
    GREEN,
    RED,
    SOURCE,
    bars,
    column,
    figure,
    graph,
    linked,
    many,
    named,
    query,
    spelled,
    steps,
    switches,
    unsummed,
    whether,
    window,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import Dashboard

FOLDER = Path(__file__).parent / "dashboards"
SLO = 'slo=~"$slo"'
OURS = 'job=~"$job"'
WORST = 25  # lines and bars of an overview: there may be thousands of SLOs
LEAST = "min without (job, instance, pod)"  # replicas of the daemon are one


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


def whole(gauge: str, matchers: str, at: str = "") -> str:
    """A gauge of each SLO as a whole: of one with groups its roll-up, which has a name of its own."""
    rollup = gauge.replace("slo_", "slo_rollup_", 1)
    return f"(max by (slo) ({rollup}{{{matchers}}}{at}) or min by (slo) ({gauge}{{{matchers}}}{at}))"


def firing(matchers: str) -> str:
    """How many alerts fire, on burn rates and on budgets, of groups and of all of them together."""
    return " + ".join(
        f"(sum(max without (job, instance, pod) ({gauge}{{{matchers}}})) or vector(0))"
        for kind in ("burn", "budget")
        for gauge in (f"slo_{kind}_alert_firing", f"slo_rollup_{kind}_alert_firing")
    )


def slo_table(left: str) -> table.Panel:
    """Every SLO with its figures, the least budget first."""
    names = {
        "slo": "SLO",
        "service": "Service",
        "Value #left": "Budget left",
        "Value #success": "Success ratio",
        "Value #target": "Target",
    }
    return (
        table.Panel()
        .title("SLOs")
        .datasource(SOURCE)
        .height(12)
        .span(12)
        .unit("percentunit")
        .decimals(3)
        .thresholds(steps(*BUDGET))
        .sort_by([common.TableSortByFieldState().display_name("Budget left").desc(False)])
        .with_target(query(left, as_table=True).ref_id("left"))
        .with_target(query(whole("slo_success_ratio", SLO), as_table=True).ref_id("success"))
        .with_target(query(whole("slo_target", SLO), as_table=True).ref_id("target"))
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "indexByName": {name: place for place, name in enumerate(names)},
                    "renameByName": names,
                },
            )
        )
        .override_by_name(*column("SLO", ("custom.minWidth", 180), ("links", linked("Show it", "${__value.text}"))))
        .override_by_name(*column("Service", ("custom.width", 90)))
        .override_by_name(*column("Budget left", ("decimals", 1), ("custom.width", 110),
                                  ("custom.cellOptions", {"type": "color-text"})))
        .override_by_name(*column("Success ratio", ("custom.width", 120)))
        .override_by_name(*column("Target", ("custom.width", 100)))
    )  # fmt: skip


def bound(name: str) -> tuple[str, list[models.DynamicConfigValue]]:
    """A bound is thin and dashed, so that what lies on it is seen."""
    return column(name, ("custom.lineWidth", 1), ("custom.lineStyle", {"fill": "dash", "dash": [6, 6]}))


def overview() -> Dashboard:
    """All SLOs: how many are how, budgets from the least on, burn rates, alerts."""
    of_service = '* on (slo) group_left (service) max by (slo, service) (slo_info{service=~"$service"})'
    budgets = whole("slo_error_budget_remaining", SLO)
    left = f"{budgets} {of_service}"
    groups = f"{LEAST} (slo_error_budget_remaining{{{SLO}}} and on (slo) slo_rollup_error_budget_remaining)"
    alone = f"{LEAST} (slo_error_budget_remaining{{{SLO}}}) unless on () {groups}"  # without any groups: SLOs
    alerts = (
        f'max without (job, instance, pod) ({{__name__=~"slo_(rollup_)?(burn|budget)_alert_firing", {SLO}}})'
    )
    unseen = " or ".join(
        f'max by (slo) ({gauge}{{{SLO}, state=~"no_data|error"}})'
        for gauge in ("slo_rollup_data_state", "slo_data_state")
    )
    doubtful = whole("slo_suspicious", SLO)
    burns = f'max by (slo) ({{__name__=~"slo_(rollup_)?burn_rate", {SLO}}}'
    lowest = f"bottomk({WORST}, {whole('slo_error_budget_remaining', SLO, ' @ end()')})"
    fastest = f"topk({WORST}, {burns} @ end()))"
    ours = linked("Show ${__field.labels.slo}", "${__field.labels.slo}")
    return (
        board("slo-overview", "SLO overview", "Every SLO of slo-budget-tracker: budgets, burn rates, alerts.")
        .with_variable(chosen("service", "Service", "label_values(slo_info, service)"))
        .with_variable(chosen("slo", "SLO", 'label_values(slo_info{service=~"$service"}, slo)'))
        .with_panel(figure("SLOs", f"count({whole('slo_target', SLO)})"))
        .with_panel(figure("Alerts firing", firing(SLO), colours=GOOD_IF_NONE))
        .with_panel(figure("Exhausted", f"count({budgets} <= 0) or vector(0)", colours=GOOD_IF_NONE))
        .with_panel(figure("Below 25%", f"count({budgets} < 0.25) or vector(0)", colours=((None, GREEN), (1.0, AMBER))))
        .with_panel(figure("Without data", f"count(({unseen}) == 1) or vector(0)", colours=GOOD_IF_NONE))
        .with_panel(figure("Least budget left", f"min({budgets})", unit="percentunit", colours=BUDGET, decimals=1))
        .with_panel(bars(f"Error budget left, the {WORST} lowest", f"sort(bottomk({WORST}, {left}))", "{{slo}}").override_by_regexp(*column(".*", ("links", ours))))
        .with_panel(slo_table(left))
        .with_panel(many("Error budget left over time", (f"clamp_min({left} and on (slo) {lowest}, -1)", "{{slo}}"), unit="percentunit", decimals=1, least=True,
                         says=f"The {WORST} SLOs that have the least at the end. One that is overspent twice and more is drawn at -100%; bars and table say how much it is.").override_by_regexp(*column(".*", ("links", ours))))
        .with_panel(many("Highest burn rate of each SLO",
                         (f"{burns}) and on (slo) {fastest}", "{{slo}}"), unit="none",
                         says=f"Over any of its windows and groups: the {WORST} SLOs that burn fastest at the end.").min(0).override_by_regexp(*column(".*", ("links", ours))))
        .with_panel(named(bars("The 15 groups with the least budget left", f"sort(bottomk(15, {groups} or {alone}))", "__auto")))
        .with_panel(unsummed(switches("Alerts firing by SLO",
                             (f"sum by (severity, slo) ({alerts}) > 0 or sum by (severity) ({alerts}) * 0", "{{severity}} {{slo}}"),
                             says="An SLO shows while it fires; a line of the severity alone is there always.")).height(12))
        .with_panel(unsummed(switches("Doubtful figures", (f'{doubtful} > 0 or label_replace(sum({doubtful}) * 0, "slo", "none", "", "")', "{{slo}}"),
                             says="An SLO shows while its figures are doubtful: parts above their whole, windows of too few scrapes.")).span(24).height(7))
    )  # fmt: skip


def detail() -> Dashboard:
    """One SLO as a whole or one of its groups, and all groups beside each other."""
    one = 'slo="$slo", ${group:raw}'

    def each_alert(kind: str, what: str) -> str:
        return " or ".join(what.format(f"slo_{part}{kind}_alert_firing{{{one}}}") for part in ("", "rollup_"))

    pair = 'label_join({}, "what", " s/", "long_window_seconds", "short_window_seconds")'
    of_pair = each_alert("burn", f'label_replace({pair}, "what", "$1 s", "what", "(.+)")')
    of_rule = each_alert("budget", 'label_join({}, "what", "", "rule")')

    def alone(gauge: str) -> str:
        return f"max({whole(gauge, one)})"

    def by_label(gauge: str, label: str, most: str, matchers: str = one) -> str:
        """Of the SLO as a whole, by a label of the gauge."""
        rollup = gauge.replace("slo_", "slo_rollup_", 1)
        return f"(max by ({label}) ({rollup}{{{matchers}}}) or {most} by ({label}) ({gauge}{{{matchers}}}))"

    def corrected(gauge: str) -> str:
        return f"{alone(gauge)} or vector(NaN)"

    def of_groups(gauge: str, most: str) -> str:
        """By the groups' own labels; an SLO without groups goes by its name."""
        chosen_one, rollup = f'{gauge}{{slo="$slo"}}', gauge.replace("slo_", "slo_rollup_", 1)
        groups = (
            f"{most} without (job, instance, pod, slo, window_seconds) ({chosen_one} and on (slo) {rollup})"
        )
        return f"({groups} or {most} by (slo) ({chosen_one} unless on (slo) {rollup}))"

    return (
        board("slo-detail", "SLO", "One SLO: budget, burn rates, alerts, coverage, groups.")
        .with_variable(chosen("service", "Service", "label_values(slo_info, service)"))
        .with_variable(chosen("slo", "SLO", 'label_values(slo_info{service=~"$service"}, slo)', many=False))
        .with_variable(group_of_slo())
        .with_panel(figure("Objective", alone("slo_target"), unit="percentunit", decimals=3))
        .with_panel(figure("Success ratio", alone("slo_success_ratio"), unit="percentunit", decimals=3))
        .with_panel(figure("Budget left", alone("slo_error_budget_remaining"), unit="percentunit", colours=BUDGET, decimals=1))
        .with_panel(figure("May still fail", f"{alone('slo_error_budget_events_remaining')} or vector(NaN)", colours=((None, RED), (0.0, GREEN)), nothing="no events",
                           says="Events of the window; a composite has none of its own."))
        .with_panel(figure("Runs out in", f"{alone('slo_error_budget_exhaustion_seconds')} or vector(NaN)", unit="s", decimals=1, nothing="not in sight",
                           colours=((None, RED), (1.0, BLUE))))
        .with_panel(figure("Alerts firing", firing(one), colours=GOOD_IF_NONE))
        .with_panel(window("SLO window", alone("slo_window_seconds")))
        .with_panel(whether("Target met", f"1 - {alone('slo_breached')}"))
        .with_panel(figure("Corrected away", f"{alone('slo_corrected_seconds')} or vector(0)", unit="s",
                           says="Time that corrections, such as maintenance, take out of the SLO window."))
        .with_panel(figure("Left uncorrected", corrected("slo_raw_error_budget_remaining"), unit="percentunit", colours=BUDGET, decimals=1,
                           nothing="no corrections", says="What would be left if nothing were taken out."))
        .with_panel(figure("Success uncorrected", corrected("slo_raw_success_ratio"), unit="percentunit", decimals=3, nothing="no corrections",
                           says="The success ratio if nothing were taken out."))
        .with_panel(figure("Evaluated", f"time() - {alone('slo_last_evaluation_timestamp_seconds')}", unit="s",
                           colours=((None, GREEN), (300.0, AMBER), (900.0, RED)), says="How old the last evaluated instant is."))
        .with_panel(graph("Error budget left, with its bounds",
                          (alone("slo_error_budget_remaining"), "left"),
                          (f"clamp_min({by_label('slo_error_budget_remaining_bound', 'bound', 'min')}, -1)", "{{bound}}"), unit="percentunit", decimals=1,
                          says="Best and worst: what it is if all unknown time was good, or bad. A worst case below -100% is drawn at -100%.").fill_opacity(0).override_by_name(*bound("best")).override_by_name(*bound("worst")))
        .with_panel(spelled(graph("Burn rates by window",
                          (by_label("slo_burn_rate", "window_seconds", "max"), "{{window_seconds}} s"), unit="none").min(0)))
        .with_panel(graph("Success ratio and objective",
                          (alone("slo_success_ratio"), "success"), (alone("slo_target"), "objective"), unit="percentunit", decimals=3).fill_opacity(0))
        .with_panel(graph("Events, and failures at the right, in the window", (alone("slo_total"), "events"), (alone("slo_failures_total"), "failures"),
                          says="Sums over the SLO window. Of a composite: its members' shares, together 1.").min(0)
                    .override_by_name(*column("failures", ("custom.axisPlacement", "right"), ("color", {"mode": "fixed", "fixedColor": RED}))))
        .with_panel(spelled(switches("Alerts by their windows or their rule on the budget", (f"max by (severity, what) ({of_pair} or {of_rule})", "{{severity}} {{what}}"))))
        .with_panel(spelled(graph("Coverage of windows", (by_label("slo_window_coverage_ratio", "window_seconds", "min"), "{{window_seconds}} s"), unit="percentunit").min(0).max(1).fill_opacity(0)))
        .with_panel(switches("State of the data", (f'max by (state) ({{__name__=~"slo_(rollup_)?data_state", {one}}}) == 1', "{{state}}"),
                             (f"{alone('slo_suspicious')}", "doubtful"),
                             says="Of several groups: every state that one of them has. Doubtful: parts above their whole, windows of few scrapes."))
        .with_panel(graph("Age of the data", (alone("slo_data_age_seconds"), "age"), unit="s").min(0))
        .with_panel(bars("Groups, the 15 with the least budget left", f"sort(bottomk(15, {of_groups('slo_error_budget_remaining', 'min')}))", "__auto"))
        .with_panel(many("Groups, the 10 with the highest burn rate",
                         (f"topk(10, {of_groups('slo_burn_rate', 'max')})", "__auto"), unit="none", says="Over any of their windows.").min(0).height(12))
    )  # fmt: skip


def daemon() -> Dashboard:
    """The daemon itself: ticks, requests, what it read, ledger, outbox."""
    own = "slo_budget_tracker"

    def none(label: str) -> str:
        """A line at 0 where nothing was counted yet."""
        return f'or on () label_replace(vector(0), "{label}", "none", "", "")'

    return (
        board("slo-budget-tracker", "slo-budget-tracker itself", "The daemon: ticks, requests, ledger, outbox.")
        .with_variable(chosen("job", "Job", f"label_values({own}_build_info, job)"))
        .with_panel(figure("SLOs", f"max({own}_slos{{{OURS}}})"))
        .with_panel(figure("Since the last tick", f"time() - max({own}_last_tick_timestamp_seconds{{{OURS}}})", unit="s", colours=((None, GREEN), (180.0, AMBER), (300.0, RED))))
        .with_panel(whether("Files loaded", f"min({own}_config_last_reload_successful{{{OURS}}})"))
        .with_panel(whether("Servers reached", f"min({own}_prometheus_up{{{OURS}}})"))
        .with_panel(figure("Events waiting", f"max({own}_outbox_pending{{{OURS}}}) or vector(0)"))
        .with_panel(figure("Ticks to catch up", f"max({own}_backfill_pending_ticks{{{OURS}}})"))
        .with_panel(whether("Somebody leads", f"min(max by (job) ({own}_leader{{{OURS}}}))"))
        .with_panel(figure("SLOs not taken", f"sum({own}_shard_slos_waiting{{{OURS}}}) or vector(0)", colours=((None, GREEN), (1.0, AMBER)),
                           says="With shards: SLOs that another shard still evaluates before this one may take them."))
        .with_panel(figure("Events refused", f"max({own}_quarantined{{{OURS}}}) or vector(0)", colours=GOOD_IF_NONE))
        .with_panel(figure("Pages' TLS ends", f"(min({own}_web_certificate_expiry_timestamp_seconds{{{OURS}}}) - time()) / 86400 or vector(NaN)",
                           unit="suffix: days", colours=EXPIRY, decimals=1, nothing="no TLS",
                           says="When the certificate ends that the daemon's pages and API show."))
        .with_panel(figure("Server's TLS ends", f"(min({own}_prometheus_certificate_expiry_timestamp_seconds{{{OURS}}}) - time()) / 86400 or vector(NaN)",
                           unit="suffix: days", colours=EXPIRY, decimals=1, nothing="no TLS", says="The certificate of the datasource whose ends first."))
        .with_panel(figure("Clock differs by", f"max(abs({own}_prometheus_clock_skew_seconds{{{OURS}}})) or vector(NaN)", unit="s",
                           colours=((None, GREEN), (5.0, AMBER), (30.0, RED)), nothing="not asked yet", says="Prometheus' clock and the daemon's."))
        .with_panel(graph("Ticks a minute by outcome, of all SLOs", (f"sum by (outcome) (rate({own}_ticks_total{{{OURS}}}[5m])) * 60", "{{outcome}}")).min(0))
        .with_panel(graph("Seconds of a tick",
                          (f"histogram_quantile(0.5, sum by (le) (rate({own}_tick_duration_seconds_bucket{{{OURS}}}[10m])))", "median"),
                          (f"histogram_quantile(0.99, sum by (le) (rate({own}_tick_duration_seconds_bucket{{{OURS}}}[10m])))", "99 %"), unit="s").min(0).fill_opacity(0))
        .with_panel(graph("Requests to Prometheus by outcome", (f"sum by (datasource, outcome) (rate({own}_prometheus_requests_total{{{OURS}}}[5m]))", "{{datasource}} {{outcome}}"), unit="reqps").min(0))
        .with_panel(graph("Samples read", (f"sum by (datasource) (rate({own}_samples_read_total{{{OURS}}}[5m]))", "{{datasource}}"), unit="count:samples/s").min(0))
        .with_panel(graph("Ledger", (f"max({own}_ledger_size_bytes{{{OURS}}})", "on disk"), unit="bytes").min(0))
        .with_panel(graph("Memory", (f"max(process_resident_memory_bytes{{{OURS}}})", "resident"), unit="bytes").min(0))
        .with_panel(switches("Troubles, in ten minutes",
                          (f"sum(increase({own}_ticks_missed_total{{{OURS}}}[10m]))", "ticks missed"),
                          (f"sum(increase({own}_store_errors_total{{{OURS}}}[10m]))", "store errors"),
                          (f"sum(increase({own}_clock_jumps_total{{{OURS}}}[10m])) or vector(0)", "clock jumps")))
        .with_panel(switches("Increases left out as doubtful, in ten minutes", (f"sum by (kind) (increase({own}_counting_doubts_total{{{OURS}}}[10m])) {none('kind')}", "{{kind}}")))
        .with_panel(switches("Who leads", (f"max by (instance) ({own}_leader{{{OURS}}})", "{{instance}}")))
        .with_panel(switches("Not let in, in ten minutes", (f"sum by (reason) (increase({own}_web_refused_total{{{OURS}}}[10m])) {none('reason')}", "{{reason}}"),
                             says="Connections and requests that the daemon refused: wrong passwords, handshakes, certificates, too many."))
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
