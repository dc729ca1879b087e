"""Read truncated seeds from the acceptance data, which are never copied into the project."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.machine import acceptance_home

#: Items kept from a long list; more of one kind are not needed as seeds.
_FEW = 3


def acceptance_seeds(target: str) -> list[bytes]:
    """Return the seeds of a target; empty without acceptance data."""
    return list(_SEEDS.get(target, lambda _: iter(()))(acceptance_home()))


def _documents(base: Path) -> Iterator[bytes]:
    for path in sorted((base / "slo").rglob("*")):
        if path.suffix in (".yaml", ".yml") and path.stat().st_size < 4096:
            yield path.read_bytes()


def _traces(base: Path) -> Iterator[bytes]:
    kinds = (("otlp.json", b"0"), ("tempo-*.json", b"1"), ("jaeger-*.json", b"2"))
    for pattern, number in kinds:
        for path in sorted((base / "traces").glob(pattern)):
            told = json.loads(path.read_text(encoding="utf-8"))
            recorded = told.get("body", told.get("response", told)) if isinstance(told, dict) else told
            yield number + json.dumps(_cut(recorded)).encode()


def _cut(value: Any) -> Any:
    """Keep the first few items of every list."""
    if isinstance(value, dict):
        return {key: _cut(one) for key, one in value.items()}
    return [_cut(one) for one in value[:_FEW]] if isinstance(value, list) else value


_SEEDS = {"documents": _documents, "traces": _traces}
