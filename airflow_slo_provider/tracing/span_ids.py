"""Parse trace and span ids: stores write them in hex or in base64."""

from __future__ import annotations

import base64

from airflow_slo_provider.exceptions import InvalidMeasurement

_HEX = frozenset("0123456789abcdefABCDEF")


def parse_trace_id(text: str) -> str:
    """Parse a trace id in hex (leading zeros may be missing) or base64; return 32 hex digits.

    :raises InvalidMeasurement: when it is neither
    """
    return _parse_id(text, size=16, what="trace id")


def parse_span_id(text: str) -> str:
    """Parse a span id in hex or base64, like :func:`parse_trace_id`; return 16 hex digits.

    :raises InvalidMeasurement: when it is neither hex nor base64
    """
    return _parse_id(text, size=8, what="span id")


def parse_parent_id(text: str | None) -> str | None:
    """Parse a parent's span id; return 16 hex digits, or None if there is none (empty or all zeros)."""
    if not text:
        return None
    span_id = parse_span_id(text)
    return None if span_id == "0" * 16 else span_id


def _parse_id(text: str, *, size: int, what: str) -> str:
    # Hex is tried first: 32 hex digits are valid base64 too, but of 24 bytes. Base64 of an id ends in "=", which is not hex.
    if text and len(text) <= 2 * size and _HEX.issuperset(text):
        return text.lower().rjust(2 * size, "0")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_" if set("-_") & set(text) else None, validate=True)
    except ValueError:  # binascii.Error too
        raw = b""
    if len(raw) != size:
        message = f"{text!r} is not a {what}: neither {2 * size} hex digits nor base64 of {size} bytes"
        raise InvalidMeasurement(message, reason="bad_id")
    return raw.hex()
