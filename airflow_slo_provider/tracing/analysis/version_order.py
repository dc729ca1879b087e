"""Order model versions from oldest to newest."""

from __future__ import annotations

import re
from collections.abc import Mapping


def version_order(seen: Mapping[str | None, tuple[int, int]]) -> list[str | None]:
    """Sort model versions, oldest first.

    By time, if one ended before the next began; two that served at the same time (a canary) by name, with numbers in names
    compared as numbers: ``v9`` before ``v10``. Spans without a version come first.

    :param seen: start of each version's first and last span, in nanoseconds since 1970
    """
    ordered = sorted(seen, key=_by_name)
    # Insertion sort by time: a version moves before those that began after it ended.
    for index in range(1, len(ordered)):
        place = index
        while place and ordered[place - 1] is not None and _before(seen, ordered[place], ordered[place - 1]):
            ordered[place - 1], ordered[place] = ordered[place], ordered[place - 1]
            place -= 1
    return ordered


def told_by_number(one: str | None, other: str | None) -> bool:
    """Whether two names differ only in their numbers, so that they show the newer version: ``v9`` and ``v10``, not two hashes."""
    if one is None or other is None:
        return False
    texts = [set(re.findall(r"[^0-9]+", name)) for name in (one, other)]
    return texts[0] == texts[1]


def _before(seen: Mapping[str | None, tuple[int, int]], one: str | None, other: str | None) -> bool:
    """Whether at most a tenth of the time of ``one`` remained when ``other`` began."""
    first, last = seen[one]
    return seen[other][0] > last - (last - first) // 10 and first < seen[other][0]


def _by_name(version: str | None) -> tuple[int, list[tuple[int, int, str]]]:
    if version is None:
        return (0, [])
    # Numbers are compared by length and digits: a version may be any text, and int() refuses thousands of digits.
    numbers = [(piece, piece.lstrip("0")) for piece in re.findall(r"[0-9]+|[^0-9]+", version)]
    return (1, [(1, len(number), number) if "0" <= piece[0] <= "9" else (0, 0, piece) for piece, number in numbers])
