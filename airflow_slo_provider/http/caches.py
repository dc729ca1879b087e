"""Detect HTTP answers that come from a stale cache."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Maximum seconds that an answer may have spent in caches. Proxies that forward every request write ``Age: 0``; burn rates cover
#: minutes.
MAX_AGE = 5
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
            return f"the answer comes from a cache with an invalid Age header ({str(age)[:40]!r}); query the server directly"
        oldest = max(map(int, seconds))
        if oldest > MAX_AGE:
            return f"the answer is {oldest} s old: it comes from a cache (Age: {oldest}); query the server directly"
    if _STALE.search(str(headers.get("Warning") or "")):
        return "a cache reports that its answer is stale (Warning header); query the server directly"
    return None
