"""Divide an SLO into one for each group: each value of the labels that it is evaluated by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from airflow_slo_provider.core.slo_key import labels_text
from airflow_slo_provider.exceptions import MeasurementError, NoData, QueryError
from airflow_slo_provider.slo.budget.reports import WORST_FIRST, SLOReport, Status
from airflow_slo_provider.slo.model import SLO

#: Maximum length of a group as text; a longer one cannot be recorded.
_LONGEST = 500
#: Reasons of a report about a group whose series have vanished, or that has no events any more.
_VANISHED = ("empty", "no_events", "bad_series_missing")


def check_group(slos: Sequence[SLO], group: Mapping[str, str]) -> None:
    """Check that SLOs can be evaluated for one group.

    :param slos: the SLOs
    :param group: values of labels
    :raises ValueError: for what is no mapping of texts, for an empty value, and for an SLO that is not evaluated by these labels
    """
    if not isinstance(group, Mapping):
        raise ValueError(f"group is {group!r}; write values of labels, e.g. {{'model_version': 'v2'}}")
    for label, value in group.items():
        if not isinstance(label, str) or not isinstance(value, str):
            raise ValueError(f"group {label!r}: {value!r} must be a text")
        if not value.strip():
            raise ValueError(f"the value of {label} in the group is empty")
        other = next((slo for slo in slos if label not in slo.options.group_by), None)
        if other is not None:
            known = ", ".join(other.options.group_by)
            hint = f"only by {known}" if known else "by no label"
            remedy = f"write airflow-slo/group-by: {label} into its annotations, or leave it out of select"
            raise ValueError(f"the SLO {other.name!r} is evaluated {hint}, not by {label}; {remedy}")


def pinned(slo: SLO, group: Mapping[str, str]) -> SLO | None:
    """Return the SLO for a group that names a value of every label; None for every other group."""
    if not slo.options.group_by or set(group) != set(slo.options.group_by):
        return None
    return replace(slo, group={label: group[label] for label in slo.options.group_by})


def divide(slo: SLO, found: Iterable[Sequence[Mapping[str, str]] | MeasurementError], group: Mapping[str, str]) -> list[SLO]:
    """Return the SLO once for each group with events, and for each expected group.

    :param slo: an SLO that is evaluated by labels
    :param found: for each of its objectives the groups that have events in the window, or the error of asking for them
    :param group: values of some of the labels: only groups with these values
    :raises MeasurementError: an error of asking; reason ``empty`` when there is no group, ``too_many_groups`` when there are more
        than the SLO allows or one of them is too long to be recorded
    """
    labels, values = slo.options.group_by, set(slo.options.expected_groups)
    for answer in found:
        if isinstance(answer, MeasurementError):
            raise answer
        values |= {tuple(each[label] for label in labels) for each in answer}
    groups = [dict(zip(labels, each, strict=True)) for each in sorted(values)]
    groups = [each for each in groups if all(each[label] == value for label, value in group.items())]
    if not groups:
        raise NoData(f"no value of {', '.join(labels)} has events in the window", reason="empty")
    most = slo.options.max_groups
    if len(groups) > most:
        message = f"{len(groups)} values of {', '.join(labels)}, more than the {most} of airflow-slo/max-groups"
        raise QueryError(message, reason="too_many_groups")
    if any(len(labels_text(each)) > _LONGEST for each in groups):
        raise QueryError(f"a value of {', '.join(labels)} is too long to be recorded", reason="too_many_groups")
    return [replace(slo, group=each) for each in groups]


def mark_retired(report: SLOReport) -> SLOReport:
    """Mark the report of a group that has vanished and need not exist.

    That is a group without data that is not one of the expected groups. Without expected groups every group must exist: one
    whose service is down cannot be told from one that was retired.

    :param report: the report of a group that was measured over the whole window, and that the caller did not ask for
    """
    expected = report.slo.options.expected_groups
    if not expected or not report.slo.group or tuple(report.slo.group.values()) in expected:
        return report
    if report.status is not Status.NO_DATA or report.error is None or report.error.reason not in _VANISHED:
        return report
    message = f"retired: {report.message}, and it is not one of airflow-slo/expected-groups"
    return replace(report, retired=True, message=message)


def worst_first(reports: Iterable[SLOReport]) -> list[SLOReport]:
    """Sort the reports of the groups of each SLO by status and remaining budget; the SLOs keep their order.

    :param reports: the reports, those of one SLO together
    """
    by_objective: dict[tuple[str, str], list[SLOReport]] = {}
    for report in reports:
        by_objective.setdefault((report.slo.service, report.recorded_name), []).append(report)
    return [report for group in by_objective.values() for report in sorted(group, key=_severity)]


def _severity(report: SLOReport) -> tuple[bool, int, float, str]:
    remaining = 2.0 if report.remaining is None else float(report.remaining)
    return report.retired, WORST_FIRST.index(report.status), remaining, report.name
