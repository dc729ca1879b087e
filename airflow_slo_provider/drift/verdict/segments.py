"""Compare datasets segment by segment, to detect drift that the whole dataset hides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.drift.engines.local import profile
from airflow_slo_provider.drift.engines.sources import Filter
from airflow_slo_provider.drift.verdict.comparison import compare
from airflow_slo_provider.drift.verdict.results import DriftReport
from airflow_slo_provider.exceptions import InvalidMeasurement

MOST_SEGMENTS = 50


def compare_segments(
    reference: Any, current: Any, by: str, *, segments: Sequence[Any] | None = None, **options: Any
) -> dict[str, DriftReport]:
    """Compare two datasets separately for each value of a column.

    Each segment is read with a filter, so both sides must be rows, not profiles. The false discovery rate of each segment is
    ``alpha`` divided by the number of segments, so that more segments do not cause more false alarms.

    :param reference: rows to compare with
    :param current: rows to compare
    :param by: column of texts, booleans or whole numbers that names the segment
    :param segments: values to compare, at most 50; default: the 50 most frequent values of both sides
    :param options: parameters of :func:`~airflow_slo_provider.drift.verdict.comparison.compare`
    :return: one report per segment
    :raises InvalidMeasurement: when ``by`` has no values or too many, or is not a column of categories; an empty result would
        look like no drift
    """
    wheres: list[Filter] = [options.pop("reference_where", None) or (), options.pop("where", None) or ()]
    names = list(segments) if segments is not None else _frequent_values(reference, current, by, wheres)
    if len(names) > MOST_SEGMENTS:
        message = f"{len(names)} segments of {by}; compare at most {MOST_SEGMENTS} at once"
        raise InvalidMeasurement(message, reason="too_many_segments")
    if not names:
        raise InvalidMeasurement(f"column {by} has no value on either side, so there is no segment", reason="no_segments")
    alpha = options.pop("alpha", 0.01) / len(names)
    ignore = (*text_list(options.pop("ignore", ())), by)
    for parameter in ("columns", "critical", "prediction", "label"):  # within a segment, `by` has one value
        if options.get(parameter) is not None:
            options[parameter] = [name for name in text_list(options[parameter]) if name != by]
    if isinstance(options.get("thresholds"), Mapping):
        options["thresholds"] = {name: value for name, value in options["thresholds"].items() if name != by}
    reports = {}
    for name in names:
        reference_where, where = ([*conditions, (by, "=", name)] for conditions in wheres)
        filters: dict[str, Any] = {"reference_where": reference_where, "where": where}
        reports[str(name)] = compare(reference, current, alpha=alpha, ignore=ignore, **filters, **options)
    return reports


def _frequent_values(reference: Any, current: Any, by: str, wheres: list[Filter]) -> list[Any]:
    rows: Counter[Any] = Counter()
    for data, where in ((reference, wheres[0]), (current, wheres[1])):
        column = profile(data, [by], where=where, categorical=[by]).columns[by]
        if column.categories is None or column.overflow or column.problem:
            problem = column.problem or "too many values"
            raise InvalidMeasurement(f"column {by} ({column.dtype}) does not name segments: {problem}")
        whole = column.dtype.lower().lstrip("u").startswith("int")
        for text, count in column.categories.items():
            rows[text == "true" if column.kind == "bool" else int(text) if whole else text] += count
    return sorted(rows, key=lambda value: (-rows[value], str(value)))[:MOST_SEGMENTS]
