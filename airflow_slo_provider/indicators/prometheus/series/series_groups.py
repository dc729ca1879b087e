"""Choose the series of one group from an answer with a series for each value of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus.query_batches import Query, Rows


def rows_of_group(rows: Rows, group: Mapping[str, str], query: Query) -> Rows:
    """Return the series with the labels of a group; all series without a group.

    :param rows: an answer
    :param group: values of labels; an empty value is the absence of the label
    :param query: the query, for messages
    :raises QueryError: reason ``several_series`` when a series has other labels too
    """
    if not group:
        return rows
    return [(labels, points) for labels, points in rows if group_of(labels, tuple(group), query) == group]


def group_of(labels: Mapping[str, str], names: Sequence[str], query: Query) -> dict[str, str]:
    """Return the group of a series.

    :param labels: its labels
    :param names: the labels that divide the SLO
    :param query: the query, for messages
    :raises QueryError: reason ``several_series`` when it has other labels too: the group would have several series
    """
    others = sorted(labels.keys() - {*names, "__name__"})
    if others:
        raise QueryError(
            f"the result has the label {others[0]} too; write sum by ({', '.join(names)}) (...) around the query, or name "
            f"{others[0]} in airflow-slo/group-by",
            reason="several_series", query=query.text, http_status=200,
        )  # fmt: skip
    return {name: labels.get(name, "") for name in names}


def groups_with_events(rows: Rows, names: Sequence[str], query: Query, *, is_ratio: bool) -> list[Mapping[str, str]]:
    """Return the groups with events.

    :param rows: the answer to the query of all events, or of a ratio
    :param names: the labels that divide the SLO
    :param query: the query, for messages
    :param is_ratio: whether the values are ratios, which are NaN without events
    :raises QueryError: reason ``several_series`` when a series has other labels too, ``no_group`` for events without the labels
    """
    none = "NaN" if is_ratio else 0
    found: list[Mapping[str, str]] = [
        group_of(labels, names, query) for labels, points in rows if any(value != none for value in points.values())
    ]
    if any(not any(group.values()) for group in found):
        shown = " and ".join(names)
        raise QueryError(
            f"there are events without a value of {shown}, which would belong to no group; check the name of the label, or write "
            f'{names[0]}!="" into every selector if these events do not count',
            reason="no_group", query=query.text, http_status=200,
        )  # fmt: skip
    return found
