"""Merge queries: counts over the same metric become one ``sum by (labels)``, whose rows are then selected by the matchers.

A merged query selects the union of the series of its members, and no others: a member whose matchers narrow another member's is
read from the series of that one; members that fix the same label to different values are joined by one alternation.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from operator import itemgetter
from typing import TypeVar

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.slo.promql.selectors import Count, Matcher, Selector, escape_regex, safe_regex
from airflow_slo_provider.slo.promql.text import duration_text

#: Maximum number of values, and of characters, in one alternation.
_VALUES = 200
_CHARACTERS = 8_000
#: Maximum number of labels in a merged query's grouping: every label multiplies the rows of the answer.
_LABELS = 4

_Points = TypeVar("_Points")
#: The labels of a series, and its points.
_Series = tuple[Mapping[str, str], _Points]


@dataclass(frozen=True)
class MergedQuery:
    """One query that answers several counts.

    :param query: PromQL
    :param applied: matchers that the query applies itself
    :param labels: labels of its grouping
    :param pivot: label whose values are joined by the alternation, or None
    """

    query: str
    applied: frozenset[Matcher]
    labels: frozenset[str]
    pivot: str | None

    def assign(self, rows: Sequence[_Series[_Points]], counts: Sequence[Count]) -> list[list[_Series[_Points]]]:
        """Assign the rows of the answer to the counts that select them.

        :param rows: the labels and points of each series in the answer
        :param counts: the counts that the query answers
        :return: the rows of each count, in order
        :raises QueryError: reason ``unmergeable``, when the rows do not match the query, or when a label value contains a line
            break: whether ``.`` matches one differs between versions of Prometheus
        """
        if len({tuple(sorted(labels.items())) for labels, _ in rows}) < len(rows):
            raise QueryError("the answer holds the same series twice", reason="unmergeable", query=self.query)
        by_pivot: dict[str, list[_Series[_Points]]] = defaultdict(list)
        for row in rows:
            if not row[0].keys() <= self.labels or any("\n" in text for text in row[0].values()):
                raise QueryError("a series with labels that cannot be matched here", reason="unmergeable", query=self.query)
            by_pivot[row[0].get(self.pivot or "", "")].append(row)
        assigned = []
        for count in counts:
            rest = [matcher for matcher in count.selector.matchers if matcher not in self.applied]
            pinned = next((item.value for item in rest if item.label == self.pivot and item.op == "="), None)
            candidates = rows if pinned is None else by_pivot[pinned]
            assigned.append([row for row in candidates if all(item.matches(row[0].get(item.label, "")) for item in rest)])
        return assigned


def duration(milliseconds: int) -> str:
    """Format a duration for PromQL."""
    return duration_text(timedelta(milliseconds=milliseconds))


def format_count(function: str, selector: Selector | str, window: int, by: Iterable[str] = ()) -> str:
    """Write a count as PromQL.

    :param function: ``increase``, ``sum_over_time``, ...
    :param selector: the series
    :param window: length of the window in milliseconds. ``sum_over_time`` gets one less: a range includes its start in
        Prometheus 2 (not in 3), and a point there belongs to the window before. ``increase`` needs the start as its reference
        point.
    :param by: labels of the grouping
    """
    length = duration(window - 1 if function == "sum_over_time" else window)
    labels = ",".join(by)
    return f"sum{f' by ({labels}) ' if labels else ''}({function}({selector}[{length}]))"


def mergeable(count: Count) -> bool:
    """Return whether the count has one series, and its matchers have the same meaning here as on the server."""
    return not count.by and all(safe_regex(matcher.value) for matcher in count.selector.matchers if matcher.is_regex)


def merge_counts(counts: Iterable[Count], window: int) -> list[tuple[MergedQuery, list[Count]]]:
    """Merge counts over one window.

    :param counts: mergeable counts
    :param window: length of the window in milliseconds
    :return: merged queries, each with the counts it answers; every count is in exactly one
    """
    metrics: dict[tuple[str, str], list[Count]] = defaultdict(list)
    for count in dict.fromkeys(counts):
        metrics[count.function, count.selector.name].append(count)
    return [merged for members in metrics.values() for merged in _merge_metric(members, window)]


def _merge_metric(counts: list[Count], window: int) -> list[tuple[MergedQuery, list[Count]]]:
    families: dict[Count, list[Count]] = {}
    # Each family under its rarest matcher: a count is compared only with families that share one of its matchers.
    wholes: dict[Matcher | None, list[tuple[int, Count, frozenset[Matcher]]]] = defaultdict(list)
    uses = Counter(matcher for count in counts for matcher in set(count.selector.matchers))
    for count in sorted(counts, key=lambda item: len(item.selector.matchers)):
        own = frozenset(count.selector.matchers)
        for _, head, matchers in sorted(chain.from_iterable(wholes[key] for key in (None, *own)), key=itemgetter(0)):
            if matchers <= own and len(_free_labels([*families[head], count], matchers)) < _LABELS:
                families[head].append(count)
                break
        else:
            families[count] = [count]
            wholes[min(own, key=uses.__getitem__, default=None)].append((len(families), count, own))
    merged = []
    for pivot, heads in _alternations(list(families)):
        for chunk in _chunks(heads, pivot):
            members = [count for head in chunk for count in families[head]]
            merged.append((_merge(chunk, members, pivot if len(chunk) > 1 else None, window), members))
    return merged


def _free_labels(counts: Iterable[Count], applied: frozenset[Matcher]) -> set[str]:
    return {matcher.label for count in counts for matcher in count.selector.matchers if matcher not in applied}


def _pins(count: Count) -> dict[str, str]:
    return {item.label: item.value for item in count.selector.matchers if item.op == "=" and item.value}


def _alternations(heads: list[Count]) -> list[tuple[str | None, list[Count]]]:
    """Group counts that differ only in the value of one fixed label."""
    alternations: list[tuple[str | None, list[Count]]] = []
    signatures: dict[tuple[frozenset[str], frozenset[Matcher]], list[Count]] = defaultdict(list)
    for head in heads:
        pins = _pins(head)
        if len(pins) < sum(item.op == "=" and bool(item.value) for item in head.selector.matchers):
            alternations.append((None, [head]))  # two values of one label select no series
            continue
        rest = frozenset(item for item in head.selector.matchers if not (item.op == "=" and item.value))
        signatures[frozenset(pins), rest].append(head)
    for (labels, rest), members in signatures.items():
        usable = sorted(labels - {item.label for item in rest})
        if not usable:
            alternations += [(None, [head]) for head in members]
            continue
        pivot = max(usable, key=lambda label: len({_pins(head)[label] for head in members}))
        groups: dict[frozenset[tuple[str, str]], list[Count]] = defaultdict(list)
        for head in members:
            groups[frozenset((label, value) for label, value in _pins(head).items() if label != pivot)].append(head)
        alternations += [(pivot, group) for group in groups.values()]
    return alternations


def _chunks(heads: list[Count], pivot: str | None) -> list[list[Count]]:
    chunks: list[list[Count]] = [[]]
    length = 0
    for head in heads:
        size = len(_pins(head)[pivot]) + 1 if pivot else 0
        if chunks[-1] and (len(chunks[-1]) == _VALUES or length + size > _CHARACTERS):
            chunks.append([])
            length = 0
        chunks[-1].append(head)
        length += size
    return chunks


def _merge(heads: list[Count], members: list[Count], pivot: str | None, window: int) -> MergedQuery:
    first = heads[0]
    applied = [item for item in first.selector.matchers if item.label != pivot]
    alternation = []
    if pivot is not None:
        values = sorted({_pins(head)[pivot] for head in heads})
        alternation = [Matcher(pivot, "=~", "|".join(map(escape_regex, values)))]
    labels = sorted(_free_labels(members, frozenset(applied)))
    selector = Selector(first.selector.name, (*applied, *alternation))
    return MergedQuery(format_count(first.function, selector, window, labels), frozenset(applied), frozenset(labels), pivot)
