"""Read the metadata of OpenSLO documents (name, labels, annotations) and the ``airflow-slo/`` options in the annotations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from datetime import timedelta
from fractions import Fraction
from typing import Any, TypeVar

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.documents.fields import Fields, did_you_mean
from airflow_slo_provider.documents.nodes import ScalarNode, SequenceNode
from airflow_slo_provider.slo.budget.windows import nominal_length
from airflow_slo_provider.slo.documents.grouping import read_expected_groups, read_group_by, read_max_groups
from airflow_slo_provider.slo.model import BudgetingMethod, CalendarDenominator, Location, MissingSlices, Options, TimeWindow

W = TypeVar("W", MissingSlices, CalendarDenominator)
PREFIX = "airflow-slo/"
OPTION_KEYS = tuple(option.name.replace("_", "-") for option in dataclass_fields(Options))
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
#: Maximum number of parts of a window.
MAX_PARTS = 366
_COUNT = re.compile(r"[0-9]{1,18}")
_SHARE = re.compile(r"(?:0|1)?(?:\.[0-9]{1,30})?")


@dataclass(frozen=True)
class Metadata:
    """The metadata of a document.

    :param name: its name; None if it is missing or invalid
    :param source: the annotations as fields, for the lines of errors
    :param display_name: name for display
    :param labels: labels, each with one or more values
    :param annotations: annotations
    """

    name: str | None
    display_name: str = ""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    source: Fields | None = None


def locate(fields: Fields, key: str) -> Location:
    """Return the location of a field, for errors that are found after it was read."""
    return Location(fields.scope.file, fields.line_of(key), fields.scope.document, fields.path_of(key))


def read_name(fields: Fields, key: str) -> str | None:
    """Read a name in the form of RFC 1123 [OpenSLO v1, ``metadata.name``]."""
    name = fields.text(key, required=True)
    if name is not None and (_NAME.fullmatch(name) is None or len(name) > 63):
        rule = "at most 63 lower case letters, digits and '-', beginning and ending with a letter or digit"
        fields.error(key, f"{name!r} is not an RFC 1123 name: {rule}, e.g. 'my-name'")
        return None
    return name


def read_metadata(document: Fields, *, options: bool = False) -> Metadata:
    """Read ``metadata``.

    :param document: the document, or an inline object
    :param options: whether annotations ``airflow-slo/...`` are options of this document
    """
    fields = document.sub("metadata", required=True)
    if fields is None:
        return Metadata(None)
    name = read_name(fields, "name")
    display_name = fields.text("displayName") or ""
    labels = read_labels(fields)
    source = fields.sub("annotations")
    annotations = read_annotations(source, options=options)
    fields.close()
    return Metadata(name, display_name, labels, annotations, source)


def read_annotations(source: Fields | None, *, options: bool) -> dict[str, str]:
    """Read annotations. An empty ``airflow-slo/`` annotation is an error, because the option would silently be off.

    :param source: the annotations as fields, if there are any
    :param options: whether annotations ``airflow-slo/...`` are options of this document
    """
    annotations: dict[str, str] = {}
    for key in source.keys() if source else ():
        assert source is not None
        text, is_option = source.text(key), key.startswith(PREFIX)
        if text is not None:
            annotations[key] = text
            if is_option and not options:
                source.error(key, "has no effect here; write it into the annotations of an SLO")
        elif is_option and options and (key not in source or isinstance(source.node(key), ScalarNode)):
            source.error(key, "is empty; write a value, or remove it")
    return annotations


def read_labels(fields: Fields, key: str = "labels") -> dict[str, tuple[str, ...]]:
    """Read labels: each value is a text or a list of texts."""
    labels: dict[str, tuple[str, ...]] = {}
    source = fields.sub(key)
    for name in source.keys() if source else ():
        assert source is not None
        node = source.node(name, required=True)
        if isinstance(node, SequenceNode):
            labels[name] = source.texts(name)
        elif isinstance(node, ScalarNode):
            labels[name] = (node.text,)
        elif node is not None:
            source.error(name, f"must be text or a list of texts, not {node.kind}")
    return labels


def read_options(metadata: Metadata, method: BudgetingMethod | None, window: TimeWindow | None) -> Options:
    """Read the annotations ``airflow-slo/<key>`` of an SLO; unknown keys are errors.

    :param metadata: the SLO's metadata
    :param method: its budgeting method, if it could be read
    :param window: its time window, if it could be read
    """
    source = metadata.source
    if source is None:
        return Options()
    values: dict[str, Any] = {}
    for annotation, text in metadata.annotations.items():
        key = annotation.removeprefix(PREFIX)
        if key == annotation:
            if annotation.lower().replace("_", "-").startswith(("airflow-slo", "airflowslo")):
                source.error(annotation, f"unknown annotation{did_you_mean(annotation, [PREFIX + k for k in OPTION_KEYS])}")
            continue
        if key not in OPTION_KEYS:
            # Compared without the prefix: with it, all keys are similar.
            hint = did_you_mean(key, OPTION_KEYS).replace("'", f"'{PREFIX}", 1)
            known = ", ".join(PREFIX + option for option in OPTION_KEYS)
            source.error(annotation, f"unknown annotation{hint or f'; known: {known}'}")
            continue
        try:
            values[key.replace("-", "_")] = _read_option(key, text.strip())
        except ValueError as error:
            source.error(annotation, str(error))
    _read_groups(source, values)
    denominator = values.get("calendar_denominator", CalendarDenominator.ELAPSED)
    key = PREFIX + "calendar-denominator"
    if denominator is not CalendarDenominator.ELAPSED and window is not None and window.rolling:
        source.error(key, f"{denominator.value} needs a calendar window; a rolling window has always fully elapsed")
    if denominator is CalendarDenominator.WHOLE and method is BudgetingMethod.OCCURRENCES:
        source.error(key, "whole needs budgetingMethod Timeslices or RatioTimeslices: future events are not known")
    silence = values.get("max_silence")
    if silence is not None and window is not None and silence > nominal_length(window):
        message = f"is longer than the window of {window.duration}: a window without any event is unknown anyway"
        source.error(PREFIX + "max-silence", message)
    if "split_window" in values and (problem := _split_problem(values["split_window"], method, window)):
        source.error(PREFIX + "split-window", problem)
    return Options(**values)


def _split_problem(split: timedelta, method: BudgetingMethod | None, window: TimeWindow | None) -> str:
    """Return what is wrong with a length of parts; empty if nothing is."""
    if method in (BudgetingMethod.TIMESLICES, BudgetingMethod.RATIO_TIMESLICES):
        return f"has no meaning for budgetingMethod {method}, which measures each time slice separately"
    if window is None:
        return ""
    if split >= nominal_length(window):
        return f"is not shorter than the window of {window.duration}, which would stay whole"
    if nominal_length(window) > split * MAX_PARTS:
        return f"splits the window of {window.duration} into more than {MAX_PARTS} parts, each of which is a query; write more"
    return ""


def _read_groups(source: Fields, values: dict[str, Any]) -> None:
    """Read the expected groups, whose form depends on the labels."""
    if "expected_groups" in values:
        try:
            values["expected_groups"] = read_expected_groups(values["expected_groups"], values.get("group_by", ()))
        except ValueError as error:
            source.error(f"{PREFIX}expected-groups", str(error))
            del values["expected_groups"]
    if "max_groups" in values and "group_by" not in values:
        source.error(f"{PREFIX}max-groups", f"needs {PREFIX}group-by")


def _read_option(key: str, text: str) -> Any:
    if key == "group-by":
        return read_group_by(text)
    if key == "max-groups":
        return read_max_groups(text)
    if key in ("min-events", "min-failures"):
        if _COUNT.fullmatch(text) is None:
            raise ValueError(f"{text!r} is not a whole number of events, 0 or more")
        return int(text)
    if key == "min-coverage":
        if not text or _SHARE.fullmatch(text) is None or Fraction(text) > 1:
            raise ValueError(f"{text!r} is not a share between 0 and 1, e.g. 0.5 for half the window")
        return Fraction(text)
    if key == "maturity-lag":
        if text in ("0", "0s", "0m", "0h", "0d"):
            return timedelta(0)
        length = parse_duration(text)
        if length.is_calendar or length.seconds > 366 * 86400:
            raise ValueError(f"{text} must be a fixed length of at most a year, e.g. 15m")
        return length.timedelta
    if key == "split-window":
        length = parse_duration(text)
        if length.is_calendar or length.seconds < 3600:
            raise ValueError(f"{text} must be a fixed length of at least 1h, e.g. 1d; the sum of short parts is less exact")
        return length.timedelta
    if key == "max-silence":
        length = parse_duration(text)
        if length.is_calendar:
            raise ValueError(f"{text} must be a fixed length, e.g. 6h")
        return length.timedelta
    if key == "missing-slices":
        return _read_choice(MissingSlices, text)
    if key == "calendar-denominator":
        return _read_choice(CalendarDenominator, text)
    if key == "counts" and text != "events":
        raise ValueError(f"{text!r} is not a declaration; the only one is events")
    return text


def _read_choice(kind: type[W], text: str) -> W:
    words = [member.value for member in kind]
    if text not in words:
        raise ValueError(f"{text!r} is none of {', '.join(words)}{did_you_mean(text, words)}")
    return kind(text)
