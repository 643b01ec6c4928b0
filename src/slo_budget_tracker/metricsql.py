"""MetricsQL: functions that VictoriaMetrics knows beyond PromQL's, so that files written for it are read.

They are known to the parser by their arguments alone; only a VictoriaMetrics answers them. Operators and
templates that PromQL has no grammar for (`default`, `if`, `WITH`) are not read.
Source: https://docs.victoriametrics.com/metricsql/#metricsql-functions
"""

from __future__ import annotations

import promql_parser
from promql_parser import Function, ValueType

_MATRIX, _VECTOR, _SCALAR, _STRING = ValueType.Matrix, ValueType.Vector, ValueType.Scalar, ValueType.String


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_OVER_RANGES = _names(
    "ascent_over_time changes_prometheus decreases_over_time default_rollup delta_prometheus "
    "descent_over_time distinct_over_time geomean_over_time histogram_over_time ideriv "
    "increase_prometheus increase_pure increases_over_time integrate lag lifetime "
    "median_over_time mode_over_time outlier_iqr_over_time range_over_time rate_over_sum "
    "rate_prometheus rollup rollup_candlestick rollup_delta rollup_deriv rollup_increase "
    "rollup_rate rollup_scrape_interval scrape_interval stale_samples_over_time sum2_over_time "
    "tfirst_over_time tlast_change_over_time tlast_over_time tmax_over_time tmin_over_time "
    "zscore_over_time"
)
_OVER_RANGES_WITH_NUMBER = _names(
    "count_eq_over_time count_gt_over_time count_le_over_time count_ne_over_time "
    "duration_over_time hoeffding_bound_lower hoeffding_bound_upper share_eq_over_time "
    "share_gt_over_time share_le_over_time sum_eq_over_time sum_gt_over_time sum_le_over_time"
)
_OVER_VECTORS = _names(
    "drop_common_labels drop_empty_series interpolate keep_last_value keep_next_value "
    "prometheus_buckets range_avg range_first range_last range_max range_median range_min "
    "range_stddev range_stdvar range_sum remove_resets running_avg running_max running_min "
    "running_sum sort_by_label_numeric"
)
_WITH_NUMBER_FIRST = _names("buckets_limit histogram_share range_quantile smooth_exponential")
_WITH_TEXTS = _names(
    "alias label_copy label_del label_graphite_group label_keep label_lowercase label_map "
    "label_match label_mismatch label_move label_set label_transform label_uppercase "
    "label_value"
)
_ANY = -1  # number of further arguments

FUNCTIONS: dict[str, Function] = {
    **{name: Function(name, [_MATRIX], _VECTOR) for name in _OVER_RANGES},
    **{name: Function(name, [_MATRIX, _SCALAR], _VECTOR) for name in _OVER_RANGES_WITH_NUMBER},
    **{name: Function(name, [_VECTOR], _VECTOR) for name in _OVER_VECTORS},
    **{name: Function(name, [_SCALAR, _VECTOR], _VECTOR) for name in _WITH_NUMBER_FIRST},
    **{name: Function(name, [_VECTOR, _STRING, _STRING], _VECTOR, _ANY) for name in _WITH_TEXTS},
}
promql_parser.register_extra_functions(list(FUNCTIONS.values()))


def called(parsed: promql_parser.Expr) -> tuple[str, ...]:
    """The functions of MetricsQL that an expression calls, in order of their names."""
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.Call) and node.func.name in FUNCTIONS:
            found.add(node.func.name)
        return True

    promql_parser.walk(parsed, visit)
    return tuple(sorted(found))
