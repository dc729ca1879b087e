"""Read the annotations of an SLO that is evaluated by labels: ``group-by``, ``expected-groups``, ``max-groups``."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.documents.fields import Fields
from airflow_slo_provider.slo.model import Options

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
#: Labels with a meaning of their own in Prometheus, and in the series that generated rules record.
_RESERVED = frozenset({"__name__", "le", "quantile", "severity"})
#: More groups than this would not fit into one answer or one page.
_MOST_GROUPS = 1000


def read_group_by(text: str) -> tuple[str, ...]:
    """Read the labels, separated by commas.

    :param text: e.g. ``model_version`` or ``handler, region``
    :raises ValueError: for what is not a label, for a label with a meaning of its own, and for a label that is named twice
    """
    labels = tuple(part.strip() for part in text.split(","))
    check_group_labels(labels)
    if len(set(labels)) < len(labels):
        raise ValueError(f"{text!r} names a label twice")
    return labels


def check_group_labels(labels: tuple[str, ...]) -> None:
    """Refuse labels that cannot divide an SLO.

    :param labels: the labels
    :raises ValueError: for what is not a label, and for a label with a meaning of its own
    """
    for label in labels:
        if _LABEL.fullmatch(label) is None:
            raise ValueError(f"{label!r} is not the name of a label; write e.g. model_version, or several separated by commas")
        if label in _RESERVED or label.startswith(("__", "slo")):
            raise ValueError(f"{label} has a meaning of its own and cannot divide an SLO")


def read_dimensions(spec: Fields, options: Options) -> Options:
    """Read ``spec.dimensions``, a list of labels, which means the same as ``airflow-slo/group-by``.

    :param spec: the SLO's spec
    :param options: its options
    :return: the options with these labels
    """
    if "dimensions" not in spec:
        return options
    labels = spec.texts("dimensions")
    try:
        found = read_group_by(",".join(labels))
    except ValueError as error:
        spec.error("dimensions", str(error))
        return options
    if options.group_by not in ((), found):
        spec.error("dimensions", f"are not the labels of airflow-slo/group-by ({', '.join(options.group_by)})")
    return replace(options, group_by=found)


def read_max_groups(text: str) -> int:
    """Read the maximum number of groups.

    :param text: a whole number from 1 to 1000
    :raises ValueError: for every other text
    """
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= _MOST_GROUPS:
        raise ValueError(f"{text!r} is not a whole number from 1 to {_MOST_GROUPS}")
    return int(text)


def read_expected_groups(text: str, group_by: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Read the groups that must exist.

    :param text: for one label its values, separated by commas; in general a JSON list of values, or of objects with a value for
        each label
    :param group_by: the labels
    :return: the values of each group, in the order of ``group_by``
    :raises ValueError: for what is no such list, and for a group without a value or with the value of another label
    """
    if not group_by:
        raise ValueError("needs airflow-slo/group-by: the labels whose values are listed here")
    groups = tuple(_group(item, group_by) for item in _items(text, group_by))
    if len(set(groups)) < len(groups):
        raise ValueError("names a group twice")
    return groups


def _items(text: str, group_by: tuple[str, ...]) -> list[Any]:
    example = ", ".join(f'"{label}": "..."' for label in group_by)
    if not text.startswith("["):
        if len(group_by) > 1:
            raise ValueError(f"with several labels, write a JSON list of objects: [{{{example}}}]")
        return [part.strip() for part in text.split(",")]
    try:
        items = strict_json.loads(text)
    except ValueError as error:
        raise ValueError(f"is not valid JSON: {error}; write a list, e.g. [{{{example}}}]") from None
    if not isinstance(items, list) or not items:
        raise ValueError(f"is an empty list; write the groups that must exist, e.g. [{{{example}}}]")
    return items


def _group(item: Any, group_by: tuple[str, ...]) -> tuple[str, ...]:
    values = {group_by[0]: item} if isinstance(item, str) and len(group_by) == 1 else item
    if not isinstance(values, dict) or set(values) != set(group_by) or not all(isinstance(text, str) for text in values.values()):
        raise ValueError(f"{json.dumps(item)} does not give a text for each of {', '.join(group_by)}")
    if not all(values.values()):
        raise ValueError("a value is empty")
    return tuple(values[label] for label in group_by)
