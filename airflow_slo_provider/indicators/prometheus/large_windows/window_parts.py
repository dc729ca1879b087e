"""Measure a long window in equal parts, each with a query of its own, and add the counts up.

A range query with one point a part would be a single request, but Prometheus evaluates a subquery over the whole range at once,
and its limits of samples and time are those of the whole request.

The growth of a counter over parts does not add up exactly to that over the whole, because ``increase`` extrapolates to both ends
of each part, and does not see what happens in a gap of the scrapes that holds such an end. The same window in about twice as many
parts, none of which begins where another part does, shows how much that matters; the worse of the two results counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

from airflow_slo_provider.core.exact_numbers import percent
from airflow_slo_provider.documents.durations import format_seconds
from airflow_slo_provider.exceptions import MeasurementError, NoData, QueryError
from airflow_slo_provider.indicators.prometheus.answers import to_milliseconds
from airflow_slo_provider.indicators.prometheus.query_batches import EvaluationTimes, Points, Rows, add_series
from airflow_slo_provider.indicators.prometheus.request_limits import Client
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest
from airflow_slo_provider.slo.model import Indicator
from airflow_slo_provider.slo.promql.additive_counts import adds_up_exactly, why_not_additive

_MILLISECOND = timedelta(milliseconds=1)
#: Share of a window that must hold data: growth in a longer gap of the scrapes would be lost with the parts that it ends in.
_LEAST_CONTINUITY = Fraction(99, 100)
_Measure = Callable[[Sequence[MeasureRequest]], list[Measurement | MeasurementError]]


@dataclass(frozen=True)
class WindowParts(EvaluationTimes):
    """The end of a window that is measured in equal parts.

    A series that has no sample in a part contributes nothing there, as it would in the whole window.

    :param part: length of a part
    """

    part: timedelta = timedelta(0)

    @property
    def ends(self) -> list[datetime]:
        """The ends of the parts, oldest first."""
        count = -(-(self.end - self.start) // self.part)
        return [self.end - self.part * number for number in reversed(range(count))]

    def run(self, client: Client, text: str) -> Rows:
        """Run a query over each part, and add the values of each series up.

        :param client: the client of the server
        :param text: a query whose window is one part
        :raises QueryError: when one of the parts has no answer that can be trusted
        """
        key = to_milliseconds(self.end)
        found: dict[frozenset[tuple[str, str]], tuple[Mapping[str, str], list[Points]]] = {}
        for end in self.ends:
            for labels, points in EvaluationTimes(end, end).run(client, text):
                _, parts = found.setdefault(frozenset(labels.items()), (labels, []))
                parts += [{key: value} for value in points.values()]
        return [(labels, add_series(parts)) for labels, parts in found.values()]


def window_times(request: MeasureRequest) -> tuple[EvaluationTimes, timedelta]:
    """Return the evaluation times of a request, and the window of its queries.

    :param request: the indicator and its span
    :raises QueryError: reason ``cannot_split``, when the counts of parts do not add up
    """
    length, longest = request.end - request.start, request.split_window
    if longest is None or length <= longest:
        return EvaluationTimes(request.start, request.end), length
    refuse_split(request.indicator)
    count = -(-length // longest)
    # Whole milliseconds, rounded up: the first part begins at most a millisecond a part before the window.
    part = _MILLISECOND * -(-length // (_MILLISECOND * count))
    return WindowParts(request.start, request.end, part=part), part


def refuse_split(indicator: Indicator) -> None:
    """Refuse to split the window of an indicator whose counts do not add up.

    :raises QueryError: reason ``cannot_split``
    """
    problem = why_not_additive(indicator.metric)
    if problem:
        shown = "; ".join(" ".join(source.query.split()) for source in indicator.metric.sources)
        message = f"the window cannot be split into parts: {problem}; remove airflow-slo/split-window"
        raise QueryError(message, reason="cannot_split", query=shown)


def add_notes(
    requests: Sequence[MeasureRequest],
    found: Sequence[Measurement | MeasurementError],
    measure: _Measure,
    continuity: Callable[[Sequence[MeasureRequest]], list[Fraction | MeasurementError]],
) -> list[Measurement | MeasurementError]:
    """Note at each measurement that was made in parts how many there were, and how much the sum may deviate.

    :param requests: the requests
    :param found: their measurements
    :param measure: measures requests; called with the same windows in other parts, if counts are extrapolated
    :param continuity: returns the share of each window, from its first data on, that holds data; called for these windows
    """
    answers = list(found)
    again: dict[int, MeasureRequest] = {}
    for number, (request, answer) in enumerate(zip(requests, found, strict=True)):
        length, longest = request.end - request.start, request.split_window
        if longest is None or length <= longest or isinstance(answer, MeasurementError):
            continue
        times, part = window_times(request)
        assert isinstance(times, WindowParts)
        note = f"measured in {len(times.ends)} parts of {_format(part)}"
        if adds_up_exactly(request.indicator.metric):
            note += ", whose counts add up exactly"
        else:
            others = 2 * len(times.ends) + 1  # an odd number: the parts have only the ends of the window in common
            again[number] = replace(request, split_window=-(-length // others))
        answers[number] = _noted(answer, note)
    if not again:
        return answers
    shares = continuity([replace(request, split_window=None) for request in again.values()])
    for number, other, share in zip(again, measure(list(again.values())), shares, strict=True):
        if isinstance(share, MeasurementError) or share < _LEAST_CONTINUITY:
            answers[number] = _gap_error(share)
            continue
        answer = answers[number]
        assert isinstance(answer, Measurement)
        worse = other if isinstance(other, Measurement) and other.ratio < answer.ratio else answer
        answers[number] = replace(worse, note=f"{answer.note}, whose sum is not exact; {_deviation(answer, other)}")
    return answers


def _gap_error(share: Fraction | MeasurementError) -> MeasurementError:
    if isinstance(share, MeasurementError):
        return share
    return NoData(
        f"only {percent(share, digits=0)} of the window since its first data has data, and what happens in a gap is lost where a "
        "window is measured in parts; remove airflow-slo/split-window until the gap has left the window",
        reason="gap",
    )


def _noted(answer: Measurement, note: str) -> Measurement:
    return replace(answer, note=f"{answer.note}; {note}" if answer.note else note)


def _deviation(answer: Measurement, other: Measurement | MeasurementError) -> str:
    if isinstance(other, MeasurementError):
        return f"how much it deviates could not be measured: {other.message}"
    counts = [answer.good, answer.total, other.good, other.total]
    good, total, other_good, other_total = (count or Fraction(0) for count in counts)
    by_role = {"total": (total, other_total), "bad events": (total - good, other_total - other_good)}
    shown = ", ".join(f"{role} by {percent(_share(*pair), digits=2, up=True)}" for role, pair in by_role.items())
    return f"with shorter parts it differs ({shown}), and the worse result counts"


def _share(value: Fraction, other: Fraction) -> Fraction:
    largest = max(value, other)
    return abs(value - other) / largest if largest else Fraction(0)


def _format(length: timedelta) -> str:
    seconds = length.total_seconds()
    return format_seconds(int(seconds)) if seconds == int(seconds) else f"{seconds:.3f}s"
