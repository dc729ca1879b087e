"""Mutate inputs within their structure, because most random bytes only reach the first check of a parser."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 0.5, 1e308, -0.0, 2**63, 10**40, float("nan"), float("inf"), "", " ", "0", "NaN", "+Inf", "-1",
    "1e400", "9" * 5000, int("9" * 4000), "\ud800", "<script>", "{{.window}}", [], {}, [[]], [{}], {"": None}, {"a": []},
]  # fmt: skip
WORDS = (
    "null", "~", "true", "false", "0", "-1", "1", "0.5", "1.0", "100", "99.9", "1e3", "1e-400", ".inf", ".nan", "0x10", "''",
    "[]", "{}", "&a", "*a", "<<: *a", "!!python/object:os.system", "|", ">-", "---", "...", "? ", "1s", "1m", "1h", "1d",
    "1w", "1M", "1Q", "1Y", "999999999Y", "36525d", "Timeslices", "RatioTimeslices", "Occurrences", "lte", "gt", "allow", "block",
    "warn", "freeze", "onNoData", "onError", "overrides", "informational", "Prometheus", "SQL", "Ledger", "Europe/Berlin",
    "'2024-02-29 02:30:00'", "'9999-12-31 23:59:59'", "'0001-01-01 00:00:00'", "{{.window}}", "${x}", "${group}", "a{9999999999}",
    "(((", "(?i)x", "\\d+", "approve", "reject", "\u2028", "\t", "\x00", "\ufeff",
)  # fmt: skip


def mutate(data: bytes, rng: random.Random, structure: str, others: Sequence[bytes]) -> bytes:
    """Change one or a few things of an input.

    :param structure: ``json`` (after one leading byte) or ``lines``
    :param others: inputs to take pieces from
    """
    change = _json if structure == "json" else _lines
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = change(data, rng, rng.choice(others) if others else data)
    return data


def _json(data: bytes, rng: random.Random, other: bytes) -> bytes:
    first, parts = data[:1] or b"0", data[1:].split(b"\n---\n")
    if rng.random() < 0.1:
        first = bytes([rng.randrange(256)])
    place = rng.randrange(len(parts))
    try:
        tree = json.loads(parts[place])
        donor = json.loads(other[1:].split(b"\n---\n")[0])
    except (ValueError, RecursionError):
        return first + _bytes(data[1:], rng)
    tree = _change(tree, donor, rng)
    try:
        written = json.dumps(tree, ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return data
    if rng.random() < 0.05:
        written = _bytes(written, rng)
    parts[place] = written
    if rng.random() < 0.05:
        parts.append(written)
    return first + b"\n---\n".join(parts)


def _change(tree: Any, donor: Any, rng: random.Random) -> Any:
    holder, key = _pick(tree, rng)
    if holder is None:
        return rng.choice(ODD)
    kind = rng.randrange(6)
    if kind == 0:
        holder[key] = copy.deepcopy(rng.choice(ODD))
    elif kind == 1:
        del holder[key]
    elif kind == 2 and isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
    elif kind == 2:
        there, name = _pick(donor, rng)
        holder[str(name) if there is not None else ""] = holder.pop(key)
    elif kind == 3:
        there, name = _pick(donor, rng)
        holder[key] = copy.deepcopy(there[name]) if there is not None else donor
    elif kind == 4:
        value = holder[key]
        holder[key] = str(value) if not isinstance(value, str) else _number(value)
    else:
        holder[key] = [holder[key]] if rng.random() < 0.5 else {"value": holder[key]}
    return tree


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return text[: len(text) // 2]


def _pick(tree: Any, rng: random.Random) -> tuple[Any, Any]:
    """Choose a node of a tree with equal probability."""
    places: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        for key in list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ():
            places.append((one, key))
            waiting.append(one[key])
    return rng.choice(places) if places else (None, None)


def _lines(data: bytes, rng: random.Random, other: bytes) -> bytes:
    lines, donor = data.split(b"\n"), other.split(b"\n")
    place = rng.randrange(len(lines))
    kinds: tuple[Callable[[], None], ...] = (
        lambda: lines.__delitem__(place),
        lambda: lines.insert(place, lines[rng.randrange(len(lines))]),
        lambda: lines.insert(place, rng.choice(donor)),
        lambda: lines.__setitem__(slice(place, place), donor[(at := rng.randrange(len(donor))) : at + rng.randrange(1, 8)]),
        lambda: lines.__setitem__(place, b" " * rng.randrange(9) + lines[place].lstrip()),
        lambda: lines.__setitem__(place, _value(lines[place], rng)),
        lambda: lines.__setitem__(place, _value(lines[place], rng)),
        lambda: lines.__setitem__(place, _token(lines[place], rng)),
        lambda: lines.__setitem__(place, _bytes(lines[place], rng)),
    )
    rng.choice(kinds)()
    return b"\n".join(lines)


def _word(rng: random.Random) -> bytes:
    return rng.choice(WORDS).encode()


def _value(line: bytes, rng: random.Random) -> bytes:
    """Replace the value after a key."""
    key, colon, _ = line.partition(b":")
    return key + colon + b" " + _word(rng) if colon else _word(rng)


def _token(line: bytes, rng: random.Random) -> bytes:
    """Replace a word."""
    words = line.split(b" ")
    words[rng.randrange(len(words))] = _word(rng)
    return b" ".join(words)


def _bytes(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return _word(rng)
    place = rng.randrange(len(data))
    kind = rng.randrange(4)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + data[place + rng.randrange(1, 9) :]
    if kind == 2:
        return data[:place] + _word(rng) + data[place:]
    return data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]
