"""Whether an answer over HTTP is an old one: a cache between us and the server may repeat what was true minutes ago."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Seconds an answer may have spent in caches. Proxies that pass every request on write ``Age: 0``; a burn rate looks at minutes.
MOST_AGE = 5
#: The ``reason`` of the errors that are made of it. They are transient: the cache expires.
REASON = "cached_answer"
#: Asks caches for the server's own answer [RFC 9111, 5.2.1.4].
NO_CACHE: Mapping[str, str] = {"Cache-Control": "no-cache"}
#: Warn codes of answers that a cache kept too long [RFC 7234, 5.5]: stale, revalidation failed, disconnected, heuristic.
_STALE = re.compile(r"(?:^|,)\s*(11[0-3])\b")


def age_fault(headers: Mapping[str, str]) -> str | None:
    """Say why an answer is not a new one; None where nothing shows that.

    :param headers: of the answer; names in any case, where the mapping knows how
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
