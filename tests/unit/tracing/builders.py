"""Traces written by hand: times in milliseconds, names for ids."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from airflow_slo_provider.tracing.spans import Span

MS = 1_000_000
T0 = 1_795_000_000_000_000_000


def identity(name: str, digits: int = 16) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:digits]


def span(
    name: str,
    start: float,
    end: float,
    parent: str | None = None,
    *,
    trace: str = "t",
    key: str | None = None,
    service: str = "server",
    version: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    **more: Any,
) -> Span:
    """Make a span; its id comes from ``key`` (its name, unless told otherwise), its parent's from the parent's key."""
    return Span(
        trace_id=identity(trace, 32),
        span_id=identity(trace + (key or name)),
        parent_id=None if parent is None else identity(trace + parent),
        name=name,
        service=service,
        start_ns=T0 + round(start * MS),
        duration_ns=round((end - start) * MS),
        attributes={**({"model_version": version} if version else {}), **(attributes or {})},
        **more,
    )
