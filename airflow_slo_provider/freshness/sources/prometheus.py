"""Read a timestamp or an age from the result of a Prometheus query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Protocol

from airflow_slo_provider.core.timestamps import EPOCH, read_seconds
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError
from airflow_slo_provider.freshness.group_names import by_name
from airflow_slo_provider.freshness.observation import Observation

GIVES = ("timestamp", "age")


class Sample(Protocol):
    """One value of one series; ``value`` is None for NaN and the infinities."""

    @property
    def labels(self) -> Mapping[str, str]: ...  # noqa: D102

    @property
    def value(self) -> Fraction | None: ...  # noqa: D102

    @property
    def text(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class PrometheusQuestion:
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
            raise ValueError(
                f"query_gives is {self.gives!r}: say whether the query's number is a timestamp (seconds since 1970) or an age"
            )

    def read(self, samples: Sequence[Sample], *, at: datetime, where: str, what: str = "query") -> Observation:
        """Convert the samples of the query's result to an observation.

        :param samples: the samples of the result
        :param at: evaluation time of the query (aware)
        :param where: the server, for messages
        :param what: name of the observed subject
        :raises QueryError: for two series where one is expected
        :raises InvalidMeasurement: for a number that is not a valid timestamp or age
        """
        source, evidence = f"query {self.query}, {where}", {"query": self.query}
        if self.group_by:
            groups = by_name(
                (([sample.labels.get(label, "") for label in self.group_by], self._moment(sample, at)) for sample in samples),
                twice=lambda name: self._two(f"two series belong to the group {name or '(no label)'}"),
            )
            note = "the query answers no series"
            return Observation(what=what, source=source, groups=groups, note=note, evidence=evidence)
        if len(samples) > 1:
            raise self._two(f"the query answers {len(samples)} series where one is expected")
        moment = self._moment(samples[0], at) if samples else None
        note = "" if moment else f"the query answers {samples[0].text}" if samples else "the query answers no series"
        return Observation(what=what, source=source, observed_at=moment, note=note, evidence=evidence)

    def _moment(self, sample: Sample, at: datetime) -> datetime | None:
        if sample.value is None:
            return None
        moment = read_seconds(sample.value, what="query")
        try:
            return moment if self.gives == "timestamp" else at - (moment - EPOCH)
        except OverflowError:
            raise InvalidMeasurement(
                f"the query answers an age of {sample.text} seconds, which is beyond the years 1 to 9999",
                reason="bad_timestamp", query=self.query,
            ) from None  # fmt: skip

    def _two(self, message: str) -> QueryError:
        return QueryError(
            f"{message}; aggregate with max(), or name labels with group_by", reason="wrong_shape", query=self.query
        )
