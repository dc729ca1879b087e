"""Read OpenSLO SLO documents: time window, budgeting method, objectives."""

from __future__ import annotations

import re
from datetime import datetime
from fractions import Fraction

from airflow_slo_provider.documents.durations import Duration
from airflow_slo_provider.documents.fields import Fields
from airflow_slo_provider.documents.nodes import ScalarNode
from airflow_slo_provider.slo.budget.error_budgets import budget_share
from airflow_slo_provider.slo.documents.alert_reader import read_alert_policies
from airflow_slo_provider.slo.documents.grouping import read_dimensions
from airflow_slo_provider.slo.documents.indicator_reader import Library, read_indicator, valid
from airflow_slo_provider.slo.documents.metadata import Metadata, read_options
from airflow_slo_provider.slo.model import SLO, BudgetingMethod, Indicator, Location, Objective, ThresholdMetric, TimeWindow

_OPS = ("lte", "gte", "lt", "gt")
_START = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d")
_METHODS = tuple(method.value for method in BudgetingMethod)


def read_slo(document: Fields, metadata: Metadata, library: Library) -> SLO | None:
    """Read an SLO whose references are in ``library``; None if it has too many errors to build one."""
    spec = document.sub("spec", required=True)
    if spec is None:
        return None
    description = spec.text("description") or ""
    service = spec.text("service", required=True)
    indicator = read_indicator(spec, library, default_name=metadata.name or "indicator")
    window = _read_window(spec)
    method_name = spec.choice("budgetingMethod", _METHODS, required=True)
    method = BudgetingMethod(method_name) if method_name is not None else None
    has_indicator = any(key in spec for key in ("indicator", "indicatorRef", "sli"))
    objectives = valid(
        _read_objective(item, method, window, indicator, has_indicator, library, number)
        for number, item in enumerate(spec.subs("objectives", required=True) or (), start=1)
    )
    policies = read_alert_policies(spec, library)
    options = read_dimensions(spec, read_options(metadata, method, window))
    spec.close()
    if metadata.name is None or service is None or window is None or method is None or not objectives:
        return None
    return SLO(
        metadata.name, service, indicator, window, method, objectives, metadata.display_name, description, policies,
        metadata.labels, metadata.annotations, options, Location(spec.scope.file, document.mapping.line),
    )  # fmt: skip


def read_target_share(fields: Fields, key: str, written: Fraction, *, percent: bool = False) -> Fraction | None:
    """Read a target as a share of 1, and refuse a target that leaves no error budget, or almost the whole as budget.

    :param key: the field of the target
    :param written: the number in the field
    :param percent: whether the field is in percent
    :param fields: the fields of the objective
    """
    share = written / 100 if percent else written
    number = f"{float(written):g}"
    example = "99.9" if percent else "0.999"
    try:
        budget = budget_share(share)
    except ValueError:
        if share == 1:
            fields.error(key, f"leaves no error budget: any single failure would break it; write a lower target, e.g. {example}")
        elif 1 < share < 100:
            remedy = f"{key}: {float(share / 100):g}" + (f" or targetPercent: {number}" if key == "target" else "")
            fields.error(key, f"{number} must be a share of good strictly between 0 and 1; for {number} % write {remedy}")
        else:
            fields.error(key, f"must be a share of good strictly between 0 and 1, e.g. {example} for 99.9 %")
        return None
    allowed = f"allows {float(100 * budget):.6g} % failures"
    if percent and written <= 1:
        remedy = f"{key}: {float(100 * written):g}" + (f" or target: {number}" if key == "targetPercent" else "")
        meant = f"; if the share {number} is meant, write {remedy}" if written < 1 else f"; write e.g. {key}: {example}"
        fields.error(key, f"is in percent: {number} {allowed}{meant}")
        return None
    if 2 * share < 1:
        fields.warn(key, f"{number} {allowed}: a target is the share of good, not of failures; is it correct?")
    return share


def _read_objective(
    fields: Fields,
    method: BudgetingMethod | None,
    window: TimeWindow | None,
    shared: Indicator | None,
    has_shared: bool,
    library: Library,
    number: int,
) -> Objective | None:
    display_name = fields.text("displayName") or ""
    own = None
    if any(key in fields for key in ("indicator", "indicatorRef", "sli")):
        own = read_indicator(fields, library, default_name=f"indicator-{number}")
        if has_shared:
            fields.error("indicator" if "indicator" in fields else "indicatorRef", "the SLO already has an indicator")
    elif not has_shared:
        fields.error("indicator", "is required here or in spec: indicator or indicatorRef")
    weight = fields.number("compositeWeight")
    if weight is not None and weight <= 0:
        fields.error("compositeWeight", "must be above 0")
    elif weight is not None:
        fields.warn("compositeWeight", "is not used: each objective is evaluated separately, and the strictest decides")
    target = _read_target(fields)
    op, value = _read_threshold(fields, own or shared)
    slice_target, slice_window = _read_slices(fields, method, window)
    fields.allow("indicator", "indicatorRef")
    fields.close()
    if target is None:
        return None
    return Objective(target, display_name, op, value, slice_target, slice_window, own, weight)


def _read_target(fields: Fields) -> Fraction | None:
    target, percent = fields.number("target"), fields.number("targetPercent")
    if "target" in fields and "targetPercent" in fields:
        fields.error("targetPercent", "either target or targetPercent, not both")
        return None
    if percent is not None:
        return read_target_share(fields, "targetPercent", percent, percent=True)
    if target is not None:
        return read_target_share(fields, "target", target)
    if "target" not in fields and "targetPercent" not in fields:
        fields.error("target", "is required, or targetPercent")
    return None


def _read_threshold(fields: Fields, indicator: Indicator | None) -> tuple[str | None, Fraction | None]:
    """Read ``op`` and ``value``: required for a thresholdMetric, meaningless for a ratioMetric.

    The specification's own examples set ``op`` on ratios and oslo's validator refuses it, so it is only a warning here.
    """
    op, value = fields.choice("op", _OPS), fields.number("value")
    if indicator is None:
        return op, value
    if isinstance(indicator.metric, ThresholdMetric):
        for key in ("op", "value"):
            if key not in fields:
                fields.error(key, "is required: the indicator is a thresholdMetric")
        return op, value
    for key in ("op", "value"):
        if key in fields:
            fields.warn(key, "has no meaning for a ratioMetric and is ignored")
    return None, None


def _read_slices(
    fields: Fields, method: BudgetingMethod | None, window: TimeWindow | None
) -> tuple[Fraction | None, Duration | None]:
    slice_target = fields.number("timeSliceTarget")
    if slice_target is not None and not 0 < slice_target <= 1:
        fields.error("timeSliceTarget", "is a share: it must lie above 0 and not above 1, e.g. 0.95 for 95 %")
    slice_window = _read_slice_window(fields)
    if method is BudgetingMethod.TIMESLICES and "timeSliceTarget" not in fields:
        fields.error("timeSliceTarget", "is required: budgetingMethod is Timeslices")
    if method in (BudgetingMethod.TIMESLICES, BudgetingMethod.RATIO_TIMESLICES) and "timeSliceWindow" not in fields:
        fields.error("timeSliceWindow", f"is required: budgetingMethod is {method}")
    if method is BudgetingMethod.OCCURRENCES:
        for key in ("timeSliceTarget", "timeSliceWindow"):
            if key in fields:
                fields.warn(key, "has no meaning for budgetingMethod Occurrences and is ignored")
        return None, None
    if method is BudgetingMethod.RATIO_TIMESLICES and slice_target is not None:
        fields.warn("timeSliceTarget", "has no meaning for budgetingMethod RatioTimeslices and is ignored")
        slice_target = None
    if slice_window is not None and window is not None:
        _check_division(fields, slice_window, window.duration)
    return slice_target, slice_window


def _read_slice_window(fields: Fields) -> Duration | None:
    """Read ``timeSliceWindow``; a bare number is minutes [OpenSLO v1]."""
    node = fields.node("timeSliceWindow")
    if isinstance(node, ScalarNode) and node.number is not None:
        minutes = node.number
        if minutes.denominator != 1 or not 0 < minutes <= 1_000_000:
            fields.error("timeSliceWindow", "must be a whole number of minutes, or a duration such as 5m")
            return None
        return Duration(f"{int(minutes)}m", seconds=int(minutes) * 60)
    return fields.duration("timeSliceWindow", fixed=True)


def _check_division(fields: Fields, part: Duration, whole: Duration) -> None:
    """Check that whole slices fill the window: a remainder would belong to no slice."""
    # Every calendar duration is a whole number of days, so a slice that divides a day divides it.
    length, name = (86400, "a day") if whole.is_calendar else (whole.seconds, "the time window")
    if length % part.seconds:
        problem = "is longer than" if part.seconds > length else "does not divide"
        fields.error("timeSliceWindow", f"{part} {problem} {name} ({whole})")


def _read_window(spec: Fields) -> TimeWindow | None:
    items = spec.subs("timeWindow", required=True)
    if items is None:
        return None
    if len(items) > 1:
        spec.error("timeWindow", f"must have exactly one item, not {len(items)}")
    windows = [_read_window_item(item) for item in items]
    return windows[0] if windows else None


def _read_window_item(fields: Fields) -> TimeWindow | None:
    duration = fields.duration("duration", required=True)
    rolling = fields.boolean("isRolling")
    calendar = fields.sub("calendar")
    has_calendar = "calendar" in fields
    start, zone = _read_calendar(calendar) if calendar is not None else (None, None)
    fields.close()
    if duration is not None and duration.text.endswith("m") and duration.seconds < 3600:
        count = duration.seconds // 60
        length = "one minute" if count == 1 else f"{count} minutes"
        fields.warn("duration", f"a window of {length}; did you mean {count}M ({count} month{'s' if count > 1 else ''})?")
    if has_calendar and rolling:
        fields.error("isRolling", "a window with a calendar does not roll; remove isRolling: true or calendar")
    elif not has_calendar and rolling is False:
        fields.error("calendar", "is required where isRolling is false: startTime and timeZone")
    elif not has_calendar and "isRolling" not in fields:
        fields.error("isRolling", "is required: write isRolling: true, or give a calendar with startTime and timeZone")
    elif rolling and duration is not None and duration.is_calendar:
        fields.error("duration", f"{duration} has no fixed length, which a rolling window needs; write {30 * duration.months}d")
    if duration is None or (has_calendar and (start is None or zone is None)):
        return None
    return TimeWindow(duration, not has_calendar, start, zone)


def _read_calendar(fields: Fields) -> tuple[datetime | None, str | None]:
    text, zone = fields.text("startTime", required=True), fields.time_zone("timeZone", required=True)
    fields.close()
    try:
        if text is None or _START.fullmatch(text):
            return datetime.fromisoformat(text) if text else None, zone
    except ValueError:  # the 31st of February
        pass
    fields.error("startTime", f"{text!r} is not a local time such as 2022-01-01 12:00:00; its time zone is written in timeZone")
    return None, zone
