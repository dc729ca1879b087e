"""Build the call tree of one trace; compute each span's own time and its time on the critical path.

The critical path follows CRISP (Zhang et al., *CRISP: Critical Path Analysis of Large-Scale Microservice Architectures*, USENIX
ATC 2022), as implemented in Jaeger: going backwards from a span's end, the caller waited for the child that returned last; before
that child started, for the child that had returned last by then; the remaining time is the span's own. Each nanosecond of the
root belongs to exactly one span, so parallel spans are not added up and the parts sum to the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from airflow_slo_provider.tracing.spans import Span


@dataclass(frozen=True, slots=True)
class PlacedSpan:
    """A span with its position in the call tree.

    :param version: the model version named by the span or the nearest span above it
    :param self_ns: nanoseconds not covered by children; None if children may be missing
    :param critical_ns: own nanoseconds on the critical path; None if unknown
    :param start_ns: start in nanoseconds since 1970, corrected for clock skew of its service
    :param depth: 0 for a root
    :param top: whether it has no parent in the trace
    """

    span: Span
    version: str | None
    self_ns: int | None
    critical_ns: int | None
    start_ns: int
    depth: int
    top: bool


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace with its call tree.

    :param spans: parents before their children
    :param missing_parents: spans whose parent is named but was not read
    :param skewed: spans moved because their service's clock disagrees with their caller's
    :param duplicates: spans that were read more than once
    :param whole: False when the store left spans out
    :param untimed: spans without a usable end; if there are any, only durations are used of the others
    :param nested: False when the store returned no parents, and all spans are treated as children of the longest
    """

    spans: tuple[PlacedSpan, ...]
    missing_parents: int
    skewed: int
    duplicates: int
    whole: bool
    untimed: int
    nested: bool


def analyse(spans: Iterable[Span], *, version_keys: Sequence[str] = ("model_version",), cut: bool = False) -> Trace:
    """Build the call tree of one trace, and compute own times and the critical path.

    :param spans: spans of one trace id, in any order
    :param version_keys: attributes that may hold the model version, in order of preference
    :param cut: whether the trace is known to have other spans that are not among these
    """
    listed = sorted(spans, key=attrgetter("start_ns"))
    known: dict[str, Span] = {}
    for span in listed:
        other = known.get(span.span_id)
        if other is None or (span.timed, span.duration_ns) > (other.timed, other.duration_ns):
            known[span.span_id] = span
    whole = not cut and all(span.whole for span in listed)
    untimed = sum(not span.timed for span in known.values())
    # Own times are unknown too if a child without an end may have covered part of them.
    complete = whole and not untimed
    children, tops, missing = _link_children(known)
    placed, skewed = _place_spans(known, children, tops)
    versions = _find_versions(known, children, tops, version_keys)
    own = {key: _own_time(placed, children.get(key, ()), *placed[key][:2]) for key in known} if complete else {}
    path = _critical_path(placed, children, tops) if complete else {}
    top = set(tops)
    return Trace(
        spans=tuple(
            PlacedSpan(known[key], versions[key], own.get(key), path.get(key, 0) if complete else None, start, depth, key in top)
            for key, (start, _, depth) in placed.items()
        ),
        missing_parents=missing, skewed=skewed, duplicates=len(listed) - len(known), whole=whole, untimed=untimed,
        nested=all(span.parent_known for span in listed),
    )  # fmt: skip


_Children = dict[str, list[str]]
_Placed = dict[str, tuple[int, int, int]]


def _link_children(known: dict[str, Span]) -> tuple[_Children, list[str], int]:
    """Return children by parent, the top spans, and the number of missing parents."""
    children: _Children = {}
    roots: list[str] = []
    orphans: list[str] = []
    for key, span in known.items():
        if not span.parent_known or span.parent_id is None:
            roots.append(key)
        elif span.parent_id in known and span.parent_id != key:
            children.setdefault(span.parent_id, []).append(key)
        else:
            orphans.append(key)
    if len(roots) > 1 and any(not known[key].parent_known for key in roots):
        # The store returned no parents: the longest span is treated as the request, all others as its children.
        request = max(roots, key=lambda key: (known[key].duration_ns, -known[key].start_ns))
        children.setdefault(request, []).extend(key for key in roots if key != request)
        roots = [request]
    _break_cycles(known, children, roots, orphans)
    if len(roots) == 1 and orphans:
        # The root waited for the missing parent, whichever it was: the orphans' time is not the root's own.
        children.setdefault(roots[0], []).extend(orphans)
        return children, roots, len(orphans)
    tops = roots + orphans
    entered = [key for key in orphans if known[key].remote_parent is True]
    # A single top span whose parent may be in another process is where the request entered; nothing is missing then.
    missing = 0 if len(tops) == 1 and known[tops[0]].remote_parent is not False else len(orphans) - len(entered)
    return children, tops, missing


def _break_cycles(known: dict[str, Span], children: _Children, roots: list[str], orphans: list[str]) -> None:
    """Break cycles, so that no span is its own ancestor: the first span of each cycle is treated as an orphan."""
    reached: set[str] = set()

    def reach(waiting: list[str]) -> None:
        while waiting:
            key = waiting.pop()
            if key not in reached:
                reached.add(key)
                waiting += children.get(key, ())

    reach([*roots, *orphans])
    for key in known:  # in the order of their start
        if key not in reached:
            children[known[key].parent_id or ""].remove(key)  # a span without parent was reached
            orphans.append(key)
            reach([key])


def _place_spans(known: dict[str, Span], children: _Children, tops: list[str]) -> tuple[_Placed, int]:
    """Return start, end and depth of each span on its caller's clock, and the number moved.

    Parents come before their children, and children are in the order of their start; those of a missing parent come last.

    A child in another service that is not within its caller's time shows clock skew. As in Jaeger, it is centred in its caller
    (assuming equal network latency both ways); its duration stays as measured.
    """
    placed: _Placed = {}
    skewed = 0
    waiting = [(key, 0, 0) for key in reversed(tops)]
    while waiting:
        key, shift, depth = waiting.pop()
        span = known[key]
        start = span.start_ns + shift
        end = start + span.duration_ns
        placed[key] = (start, end, depth)
        for child in reversed(children.get(key, ())):
            below = known[child]
            move = shift
            first, last = below.start_ns + shift, below.end_ns + shift
            both = span.timed and below.timed
            if both and below.service != span.service and (first < start or last > end):
                if below.duration_ns <= span.duration_ns:
                    move += start + (span.duration_ns - below.duration_ns) // 2 - first
                elif first < start:
                    move += start - first
                skewed += move != shift
            waiting.append((child, move, depth + 1))
    return placed, skewed


def _find_versions(known: dict[str, Span], children: _Children, tops: list[str], keys: Sequence[str]) -> dict[str, str | None]:
    """Return each span's model version: its own, else that of the nearest span above, else the only one in the trace."""
    named: set[str] = set()
    found: dict[str, str | None] = {}
    waiting: list[tuple[str, str | None]] = [(key, None) for key in tops]
    while waiting:
        key, above = waiting.pop()
        attributes = known[key].attributes
        for name in keys if attributes else ():
            if attributes.get(name) not in (None, ""):
                above = str(attributes[name])
                named.add(above)
                break
        found[key] = above
        waiting += [(child, above) for child in children.get(key, ())]
    only = next(iter(named)) if len(named) == 1 else None
    return {key: version if version is not None else only for key, version in found.items()}


def _own_time(placed: _Placed, children: Sequence[str], start: int, end: int) -> int:
    """Return the part of ``start``..``end`` that no child covers."""
    free, until = end - start, start
    if not children:  # most spans: this function takes much of the time of a breakdown
        return free
    for first, last in sorted((placed[child][0], placed[child][1]) for child in children):
        first, last = max(first, until), min(last, end)
        if last > first:
            free -= last - first
            until = last
    return free


def _critical_path(placed: _Placed, children: _Children, tops: list[str]) -> dict[str, int]:
    """Return each span's own nanoseconds on the critical path; spans that are not on it are left out."""
    path: dict[str, int] = {}
    waiting = [(key, placed[key][0], placed[key][1]) for key in tops]
    while waiting:
        key, low, high = waiting.pop()
        cursor, own = high, 0
        inside = [(min(placed[child][1], high), max(placed[child][0], low), child) for child in children.get(key, ())]
        for last, first, child in sorted(inside, key=lambda item: (-item[0], item[1])):
            if first < last <= cursor:
                own += cursor - last
                waiting.append((child, first, last))
                cursor = first
        path[key] = path.get(key, 0) + own + max(0, cursor - low)
    return path
