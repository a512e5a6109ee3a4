"""The figures as Prometheus metrics: totals of all days, and durations of the last hour.

Knows names and labels, all of which begin with `voxrelay_` and hold no job, person or text. Refuses
to count and to read rows. Totals survive a restart, as the rows do. Every process that counts tells
all of them: a query over several takes the greatest, and does not add them up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from analytics.definitions import Figure
from analytics.figures import QUANTILES, Price, cost, told

_COUNTERS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("events", "voxrelay_events", "Events, by topic", ("topic",)),
    ("jobs", "voxrelay_jobs", "Jobs that came to a state", ("state",)),
    ("rules", "voxrelay_rules", "Verdicts in which a rule fired", ("rule", "verdict")),
    ("reviews", "voxrelay_reviews", "Decisions of reviewers", ("decision",)),
    ("speech", "voxrelay_speech", "Speech computed, or found in the cache", ("how",)),
    ("voices", "voxrelay_voices", "Deliveries by voice", ("voice",)),
    ("clones", "voxrelay_clones", "Deliveries in the recording's own voice", ("cloned",)),
    ("styles", "voxrelay_styles", "Jobs by style and state", ("style", "state")),
    ("kinds", "voxrelay_style_kinds", "Jobs by kind of style and state", ("kind", "state")),
    ("versions", "voxrelay_versions", "Jobs by version of what judged", ("version", "state")),
    ("languages", "voxrelay_languages", "Approved jobs by language heard", ("language",)),
    ("modes", "voxrelay_modes", "Accepted jobs by mode", ("mode",)),
    ("doors", "voxrelay_doors", "Accepted jobs by door", ("door",)),
    ("formats", "voxrelay_formats", "Deliveries by format", ("format",)),
    ("failures", "voxrelay_failures", "Jobs that ended without speech", ("stage", "code")),
)
"""Head of a figure's path, name, what it says, labels: one for each further name of the path."""
_GAUGES = (
    (
        "delay_seconds",
        "voxrelay_delay_seconds",
        "From acceptance to a state, of jobs accepted in the last hour",
        "state",
    ),
    (
        "took_seconds",
        "voxrelay_stage_seconds",
        "From the event a stage answers to its answer, of jobs accepted in the last hour",
        "stage",
    ),
)
"""Name among the figures, name, what it says, label."""
RECENT = timedelta(hours=1)
"""How far back durations go."""


class Metrics(Collector):
    """What one scrape gets to see: sums of all days, and of the `RECENT` minutes."""

    def __init__(
        self,
        days: Mapping[Figure, int],
        recent: Mapping[Figure, int],
        lag: int,
        price: Price | None = None,
    ) -> None:
        self._days, self._recent, self._lag, self._price = days, recent, lag, price

    def describe(self) -> list[Metric]:
        """Nothing is read to register."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric, those without a value yet among them."""
        sums = self._days
        yield from _counters(sums)
        sound = CounterMetricFamily("voxrelay_audio_seconds", "Seconds of sound", labels=("kind",))
        for path, amount in sums.items():
            if path[0] == "audio_ms":
                sound.add_metric(path[1:], amount / 1000)
        yield sound
        yield from self._durations()
        lag = GaugeMetricFamily("voxrelay_analytics_lag", "Records not yet counted, about")
        lag.add_metric((), self._lag)
        yield lag
        if self._price is not None:
            money = CounterMetricFamily(
                "voxrelay_cost", "Cost of the speech computed", labels=("currency",)
            )
            money.add_metric((self._price.currency,), float(cost(sums, self._price)))
            yield money

    def _durations(self) -> Iterator[Metric]:
        recent = told(self._recent)
        for figure, name, said, label in _GAUGES:
            family = GaugeMetricFamily(name, said, labels=(label, "quantile"))
            for value, found in recent.get(figure, {}).items():
                for key, quantile in QUANTILES.items():
                    family.add_metric((value, str(quantile)), found[key])
            yield family


def _counters(sums: Mapping[Figure, int]) -> Iterator[Metric]:
    for head, name, said, labels in _COUNTERS:
        family = CounterMetricFamily(name, said, labels=labels)
        for path, amount in sums.items():
            if path[0] == head:
                family.add_metric(_fit(path[1:], len(labels)), amount)
        yield family


def _fit(names: Figure, count: int) -> Figure:
    """As many values as there are labels."""
    return (*names, *("" for _ in range(count)))[:count]
