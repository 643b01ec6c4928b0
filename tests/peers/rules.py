"""What Sloth, Pyrra and slo-generator ask Prometheus for one availability SLO of 30 days, and how often.

The shapes are those of the peers' own documentation, written down here for any pair of selectors:

* Sloth: https://sloth.dev/introduction/architecture/ (recording rules per window; the period is the mean of the
  recorded 5-minute ratios). Its files carry no interval: Prometheus' own default of one minute is taken here,
  many installations run 30 s, at twice the cost.
* Pyrra: https://github.com/pyrra-dev/pyrra#how-it-works (`increase<window>` and `burnrate<window>` rules; burn
  rates every 30 s, the increase of a 30-day window every 150 s; windows scale with the SLO's window).
* slo-generator: https://github.com/google/slo-generator/blob/master/docs/providers/prometheus.md (`good_bad_ratio`:
  two queries per step of the error budget policy; the sample policy has 1 h, 12 h, 7 d and 28 d; "max 1 every
  minute").

Only rules that read series are listed, and of rules that read recorded series only Sloth's mean: alerts and the
like read one sample each and are left out, in the peers' favour.
"""

from __future__ import annotations

from typing import NamedTuple

SLOTH_INTERVAL = 60
SLOTH_WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
PYRRA_BURN_INTERVAL = 30
PYRRA_INCREASE_INTERVAL = 150
PYRRA_WINDOWS = ("5m", "32m", "1h4m", "2h9m", "6h26m", "1d1h43m", "4d6h51m")  # of a 30-day SLO
SLO_GENERATOR_INTERVAL = 60
SLO_GENERATOR_WINDOWS = (3_600, 43_200, 604_800, 2_419_200)


class Rule(NamedTuple):
    """An expression that is evaluated every `interval` seconds, recorded under a name or exported."""

    record: str
    expression: str
    interval: int


def sloth_ratio(*, bad: str, total: str, window: str) -> str:
    """Sloth's error ratio over one window."""
    return f"(sum(rate({bad}[{window}]))) / (sum(rate({total}[{window}])))"


def sloth(name: str, *, bad: str, total: str) -> tuple[Rule, ...]:
    """One recording rule per window, and the period as the mean of the recorded 5-minute ratios."""
    recorded = f'slo:sli_error:ratio_rate5m{{sloth_id="{name}"}}'
    return (
        *(
            Rule(
                f"slo:sli_error:ratio_rate{window}",
                sloth_ratio(bad=bad, total=total, window=window),
                SLOTH_INTERVAL,
            )
            for window in SLOTH_WINDOWS
        ),
        Rule(
            "slo:sli_error:ratio_rate30d",
            f"sum_over_time({recorded}[30d]) / ignoring(sloth_window) count_over_time({recorded}[30d])",
            SLOTH_INTERVAL,
        ),
    )


def pyrra(*, bad: str, total: str, by: str = "code") -> tuple[Rule, ...]:
    """Burn rates per window, the increase over the SLO's window, and the check for absent series."""
    metric = total.partition("{")[0].removesuffix("_total")
    return (
        *(
            Rule(
                f"{metric}:burnrate{window}",
                f"sum(rate({bad}[{window}])) / sum(rate({total}[{window}]))",
                PYRRA_BURN_INTERVAL,
            )
            for window in PYRRA_WINDOWS
        ),
        Rule(f"{metric}:increase30d", f"sum by({by}) (increase({total}[30d]))", PYRRA_INCREASE_INTERVAL),
        Rule("absent", f"absent({total}) == 1", PYRRA_INCREASE_INTERVAL),
    )


def slo_generator(*, good: str, valid: str) -> tuple[Rule, ...]:
    """Two counts per step of the error budget policy."""
    return tuple(
        Rule(f"{kind} over {window} s", f"sum(increase({selector}[{window}s]))", SLO_GENERATOR_INTERVAL)
        for window in SLO_GENERATOR_WINDOWS
        for kind, selector in (("good", good), ("valid", valid))
    )
