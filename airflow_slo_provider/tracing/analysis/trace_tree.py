"""One trace: who called whom, which time is whose own, and which of it the caller waited for.

The critical path follows CRISP (Zhang et al., *CRISP: Critical Path Analysis of Large-Scale Microservice Architectures*, USENIX
ATC 2022), as Jaeger draws it: from a span's end backwards, the child that returned last was waited for; before it started, the
child that had returned last by then; the rest is the span's own. Each moment of the root belongs to exactly one span, so parallel
spans are not added up and the parts sum to the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from airflow_slo_provider.tracing.spans import Span


@dataclass(frozen=True, slots=True)
class Part:
    """A span with its place in the trace.

    :param version: the model version that the span, or the nearest span above it, names
    :param self_ns: its time not covered by children; None where children may be missing
    :param critical_ns: its own time on the critical path; None where that is not known
    :param start_ns: start, corrected for the clock of its service
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
    """A trace whose spans have found their places.

    :param missing_parents: spans whose parent is named and not there
    :param skewed: spans moved because their service's clock disagrees with their caller's
    :param duplicates: spans that came more than once
    :param whole: False when the store left spans out
    :param untimed: spans without a usable end; where there are any, nothing but durations is read off the others
    :param nested: False when the store did not say who called whom, and all spans are taken for children of the longest
    """

    parts: tuple[Part, ...]
    missing_parents: int
    skewed: int
    duplicates: int
    whole: bool
    untimed: int
    nested: bool


def analyse(spans: Iterable[Span], *, version_keys: Sequence[str] = ("model_version",), cut: bool = False) -> Trace:
    """Put the spans of one trace in their places.

    :param spans: spans of one trace id, in any order
    :param version_keys: attributes that may hold the model version, best first
    :param cut: whether other spans of the trace are known to exist and are not among these
    """
    listed = list(spans)
    known: dict[str, Span] = {}
    for span in listed:
        other = known.get(span.span_id)
        if other is None or (span.timed, span.duration_ns) > (other.timed, other.duration_ns):
            known[span.span_id] = span
    whole = not cut and all(span.whole for span in listed)
    untimed = sum(not span.timed for span in known.values())
    # Whose own a time was is not known either where a child may have covered any of it.
    complete = whole and not untimed
    children, tops, missing = _family(known)
    placed, skewed = _place(known, children, tops)
    versions = _versions(known, children, tops, version_keys)
    own = {key: _uncovered(placed, children.get(key, ()), *placed[key][:2]) for key in known} if complete else {}
    path = _critical(placed, children, tops) if complete else {}
    tops_set = set(tops)
    parts = tuple(
        Part(known[key], versions[key], own.get(key), path.get(key, 0) if complete else None, start, depth, key in tops_set)
        for key, (start, _, depth) in placed.items()
    )
    return Trace(
        parts=parts,
        missing_parents=missing,
        skewed=skewed,
        duplicates=len(listed) - len(known),
        whole=whole,
        untimed=untimed,
        nested=all(span.parent_known for span in listed),
    )


_Children = dict[str, list[str]]
_Placed = dict[str, tuple[int, int, int]]


def _family(known: dict[str, Span]) -> tuple[_Children, list[str], int]:
    """Return children by parent, the spans at the top, and how many parents are missing."""
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
        # Nobody knows who called whom. The longest span is taken for the request, all others for its children.
        request = max(roots, key=lambda key: (known[key].duration_ns, -known[key].start_ns))
        children.setdefault(request, []).extend(key for key in roots if key != request)
        roots = [request]
    _break_circles(known, children, roots, orphans)
    if len(roots) == 1 and orphans:
        # Whatever the missing parent was, the root waited for it: its time is not the root's own.
        children.setdefault(roots[0], []).extend(orphans)
        return children, roots, len(orphans)
    tops = roots + orphans
    entered = [key for key in orphans if known[key].remote_parent is True]
    # One span at the top whose parent may be in another process: the request came in there, and nothing is missing.
    missing = 0 if len(tops) == 1 and known[tops[0]].remote_parent is not False else len(orphans) - len(entered)
    return children, tops, missing


def _break_circles(known: dict[str, Span], children: _Children, roots: list[str], orphans: list[str]) -> None:
    """Let no span be its own ancestor: such spans hang from nothing, and the first of each circle is called an orphan."""
    reached: set[str] = set()

    def reach(key: str) -> None:
        waiting = [key]
        while waiting:
            one = waiting.pop()
            if one not in reached:
                reached.add(one)
                waiting += children.get(one, ())

    for key in (*roots, *orphans):
        reach(key)
    if len(reached) == len(known):
        return
    for key in sorted(known, key=lambda one: known[one].start_ns):
        if key not in reached:
            parent = known[key].parent_id
            if parent is not None:
                children[parent].remove(key)
            orphans.append(key)
            reach(key)


def _place(known: dict[str, Span], children: _Children, tops: list[str]) -> tuple[_Placed, int]:
    """Return start, end and depth of each span on its caller's clock, parents before children, and how many were moved.

    A child in another service that does not lie inside its caller shows two clocks that disagree. As in Jaeger, it is put in the
    middle of its caller (the way there takes as long as the way back); its duration stays as measured.
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
        for child in children.get(key, ()):
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


def _versions(known: dict[str, Span], children: _Children, tops: list[str], keys: Sequence[str]) -> dict[str, str | None]:
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


def _uncovered(placed: _Placed, children: Sequence[str], start: int, end: int) -> int:
    """Return the part of ``start``..``end`` that no child covers."""
    free, until = end - start, start
    if not children:
        return free
    for first, last in sorted((placed[child][0], placed[child][1]) for child in children):
        first, last = max(first, until), min(last, end)
        if last > first:
            free -= last - first
            until = last
    return free


def _critical(placed: _Placed, children: _Children, tops: list[str]) -> dict[str, int]:
    """Return the time each span is on the critical path itself; spans that are not on it are left out."""
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
