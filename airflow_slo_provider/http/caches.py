"""Detect HTTP answers that come from a stale cache."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Maximum seconds that an answer may have spent in caches. Proxies that forward every request write ``Age: 0``; burn rates cover
#: minutes.
MOST_AGE = 5
#: The ``reason`` of errors about cached answers. They are transient: the cache expires.
REASON = "cached_answer"
#: Requests the server's own answer from caches [RFC 9111, 5.2.1.4].
NO_CACHE: Mapping[str, str] = {"Cache-Control": "no-cache"}
#: Warn codes of stale cached answers [RFC 7234, 5.5]: stale, revalidation failed, disconnected, heuristic.
_STALE = re.compile(r"(?:^|,)\s*(11[0-3])\b")


def age_fault(headers: Mapping[str, str]) -> str | None:
    """Return why an answer is outdated; None if its headers do not show that.

    :param headers: headers of the answer; case-insensitive if the mapping is
    """
    age = headers.get("Age")
    if age is not None:
        seconds = [part.strip() for part in str(age).split(",")]
        if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in seconds):
            return (
                f"the answer comes from a cache that does not say how old it is (Age: {str(age)[:40]!r}); ask the server itself"
            )
        oldest = max(map(int, seconds))
        if oldest > MOST_AGE:
            return (
                f"the answer is {oldest} s old: it comes from a cache (Age: {oldest}); ask the server itself, without the cache"
            )
    warning = headers.get("Warning")
    if warning and _STALE.search(str(warning)):
        return "a cache says that its answer is stale (Warning header); ask the server itself, without the cache"
    return None
