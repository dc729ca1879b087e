"""Which model version came before which."""

from __future__ import annotations

import re
from collections.abc import Mapping


def version_order(seen: Mapping[str | None, tuple[int, int]]) -> list[str | None]:
    """Put versions in order, the oldest first.

    By time, where one was over before the next began; two that served side by side (a canary) by their names, the numbers in
    them read as numbers: ``v9`` before ``v10``. What has no version comes first.

    :param seen: when each version's first and last span started
    """
    ordered = sorted(seen, key=_by_name)
    # Insertion by time: a version moves before those that began after it was over.
    for index in range(1, len(ordered)):
        place = index
        while place and ordered[place - 1] is not None and _before(seen, ordered[place], ordered[place - 1]):
            ordered[place - 1], ordered[place] = ordered[place], ordered[place - 1]
            place -= 1
    return ordered


def told_by_number(one: str | None, other: str | None) -> bool:
    """Whether two names differ in numbers alone, so that they tell which version is newer: ``v9`` and ``v10``, no two hashes."""
    if one is None or other is None:
        return False
    texts = [set(re.findall(r"[^0-9]+", name)) for name in (one, other)]
    return texts[0] == texts[1]


def _before(seen: Mapping[str | None, tuple[int, int]], one: str | None, other: str | None) -> bool:
    """Whether ``one`` was over, but for a tenth of its time, when ``other`` began."""
    first, last = seen[one]
    return seen[other][0] > last - (last - first) // 10 and first < seen[other][0]


def _by_name(version: str | None) -> tuple[int, list[tuple[int, int, str]]]:
    if version is None:
        return (0, [])
    # Numbers by their length and their digits: a version may be anybody's text, and int() refuses thousands of digits.
    numbers = [(piece, piece.lstrip("0")) for piece in re.findall(r"[0-9]+|[^0-9]+", version)]
    return (1, [(1, len(number), number) if "0" <= piece[0] <= "9" else (0, 0, piece) for piece, number in numbers])
