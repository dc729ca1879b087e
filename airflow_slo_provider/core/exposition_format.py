"""Write gauges in Prometheus' text format, version 0.0.4 [Prometheus, "Exposition formats"]."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def format_gauge(name: str, samples: Iterable[tuple[Mapping[str, str], Any]], *, help_text: str = "") -> str:
    """Format a gauge with its samples; an empty text if there are none.

    :param name: name of the metric
    :param samples: labels and value of each sample; one whose value is not a finite number is left out
    :param help_text: description of the metric
    """
    lines = [
        f"{name}{_format_labels(labels)} {float(value)!r}"
        for labels, value in samples
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
    if not lines:
        return ""
    description = [f"# HELP {name} {help_text}"] if help_text else []
    return "\n".join([*description, f"# TYPE {name} gauge", *lines]) + "\n"


def _format_labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
