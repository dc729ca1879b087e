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
    ordered = sorted(seen, key=_name_key)
    # Insertion sort by time: a version moves before those that began after it ended.
    for index in range(1, len(ordered)):
        while index and ordered[index - 1] is not None and _ended_before(seen, ordered[index], ordered[index - 1]):
            ordered[index - 1], ordered[index] = ordered[index], ordered[index - 1]
            index -= 1
    return ordered


def differ_only_in_numbers(version: str | None, other: str | None) -> bool:
    """Whether two names differ only in their numbers, so that they show the newer version: ``v9`` and ``v10``, not two hashes."""
    if version is None or other is None:
        return False
    return set(re.findall(r"[^0-9]+", version)) == set(re.findall(r"[^0-9]+", other))


def _ended_before(seen: Mapping[str | None, tuple[int, int]], version: str | None, other: str | None) -> bool:
    """Whether at most a tenth of the time of ``version`` remained when ``other`` began."""
    first, last = seen[version]
    return seen[other][0] > last - (last - first) // 10 and first < seen[other][0]


def _name_key(version: str | None) -> tuple[int, list[tuple[int, int, str]]]:
    if version is None:
        return (0, [])
    # Numbers are compared by length and digits: a version may be any text, and int() refuses thousands of digits.
    parts = [(part, part.lstrip("0")) for part in re.findall(r"[0-9]+|[^0-9]+", version)]
    return (1, [(1, len(number), number) if "0" <= part[0] <= "9" else (0, 0, part) for part, number in parts])
