"""Read a timestamp or an age from the result of a Prometheus query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Protocol

from airflow_slo_provider.core.timestamps import EPOCH, read_seconds
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError
from airflow_slo_provider.freshness.group_names import name_groups
from airflow_slo_provider.freshness.observation import Observation

GIVES = ("timestamp", "age")


class SeriesSample(Protocol):
    """One value of one series; ``value`` is None for NaN and the infinities."""

    @property
    def labels(self) -> Mapping[str, str]: ...  # noqa: D102

    @property
    def value(self) -> Fraction | None: ...  # noqa: D102

    @property
    def text(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class PrometheusQuery:
    """A PromQL query that returns a timestamp or an age.

    :param query: PromQL; without ``group_by`` it must return exactly one series
    :param gives: ``timestamp`` (seconds since 1970, e.g. ``max(last_success_timestamp_seconds)``) or ``age`` (seconds, e.g.
        ``time() - max(last_success_timestamp_seconds)``)
    :param group_by: labels that define a group; each group may have one series
    :raises ValueError: when ``gives`` is neither
    """

    query: str
    gives: str
    group_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.gives not in GIVES:
            raise ValueError(f"query_gives is {self.gives!r}; write timestamp (seconds since 1970) or age (seconds)")

    def read(self, samples: Sequence[SeriesSample], *, at: datetime, where: str, what: str = "query") -> Observation:
        """Convert the samples of the query's result to an observation.

        :param samples: the samples of the result
        :param at: evaluation time of the query (aware)
        :param where: the server, for messages
        :param what: name of the observed subject
        :raises QueryError: for two series where one is expected
        :raises InvalidMeasurement: for a number that is not a valid timestamp or age
        """
        about: dict[str, Any] = {"what": what, "source": f"query {self.query}, {where}", "evidence": {"query": self.query}}
        if self.group_by:
            groups = name_groups(
                (([sample.labels.get(label, "") for label in self.group_by], self._read_time(sample, at)) for sample in samples),
                repeated=lambda name: self._ambiguous(f"two series belong to the group {name or '(no label)'}"),
            )
            return Observation(**about, groups=groups, note="the query returns no series")
        if len(samples) > 1:
            raise self._ambiguous(f"the query returns {len(samples)} series where one is expected")
        timestamp = self._read_time(samples[0], at) if samples else None
        note = "" if timestamp else f"the query returns {samples[0].text if samples else 'no series'}"
        return Observation(**about, observed_at=timestamp, note=note)

    def _read_time(self, sample: SeriesSample, at: datetime) -> datetime | None:
        if sample.value is None:
            return None
        timestamp = read_seconds(sample.value, what="query")
        try:
            return timestamp if self.gives == "timestamp" else at - (timestamp - EPOCH)
        except OverflowError:
            message = f"the query returns an age of {sample.text} seconds, which is beyond the years 1 to 9999"
            raise InvalidMeasurement(message, reason="bad_timestamp", query=self.query) from None

    def _ambiguous(self, message: str) -> QueryError:
        advice = "aggregate with max(), or name labels with group_by"
        return QueryError(f"{message}; {advice}", reason="wrong_shape", query=self.query)
