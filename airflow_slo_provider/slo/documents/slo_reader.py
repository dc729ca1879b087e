"""Read OpenSLO SLO documents: time window, budgeting method, objectives."""

from __future__ import annotations

import re
from datetime import datetime
from fractions import Fraction
from zoneinfo import ZoneInfo, available_timezones

from airflow_slo_provider.documents.durations import Duration
from airflow_slo_provider.documents.fields import Fields, did_you_mean
from airflow_slo_provider.documents.nodes import ScalarNode
from airflow_slo_provider.slo.budget.error_budgets import budget_share
from airflow_slo_provider.slo.documents.alert_reader import read_alert_policies
from airflow_slo_provider.slo.documents.indicator_reader import Library, read_indicator
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
    window = _window(spec)
    method_name = spec.choice("budgetingMethod", _METHODS, required=True)
    method = BudgetingMethod(method_name) if method_name is not None else None
    has_indicator = any(key in spec for key in ("indicator", "indicatorRef", "sli"))
    objectives = [
        _objective(item, method, window, indicator, has_indicator, library, number)
        for number, item in enumerate(spec.subs("objectives", required=True) or (), start=1)
    ]
    policies = read_alert_policies(spec, library)
    options = read_options(metadata, method, window)
    spec.close()
    kept = tuple(objective for objective in objectives if objective is not None)
    if metadata.name is None or service is None or window is None or method is None or not kept:
        return None
    return SLO(
        metadata.name, service, indicator, window, method, kept, metadata.display_name, description, policies,
        metadata.labels, metadata.annotations, options, Location(spec.scope.file, document.mapping.line),
    )  # fmt: skip


def target_share(fields: Fields, key: str, written: Fraction, *, percent: bool = False) -> Fraction | None:
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
            fields.fault(key, f"leaves no error budget: any single failure would break it; promise less, e.g. {example}")
        elif 1 < share < 100:
            remedy = f"{key}: {float(share / 100):g}" + (f" or targetPercent: {number}" if key == "target" else "")
            fields.fault(
                key, f"must lie strictly between 0 and 1 as a share of good: {number} is no share; for {number} % write {remedy}"
            )
        else:
            fields.fault(key, f"must lie strictly between 0 and 1 as a share of good, e.g. {example} for 99.9 %")
        return None
    allowed = f"allows {float(100 * budget):.6g} % failures"
    if percent and written <= 1:
        remedy = f"{key}: {float(100 * written):g}" + (f" or target: {number}" if key == "targetPercent" else "")
        meant = f"; if the share {number} is meant, write {remedy}" if written < 1 else f"; write e.g. {key}: {example}"
        fields.fault(key, f"is in percent: {number} {allowed}{meant}")
        return None
    if 2 * share < 1:
        fields.warn(key, f"{number} {allowed}: a target is the share of good, not of failures; is that meant?")
    return share


def _objective(
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
            fields.fault("indicator" if "indicator" in fields else "indicatorRef", "the SLO has an indicator of its own already")
    elif not has_shared:
        fields.fault("indicator", "is required here or in spec: indicator or indicatorRef")
    weight = fields.number("compositeWeight")
    if weight is not None and weight <= 0:
        fields.fault("compositeWeight", "must be above 0")
    elif weight is not None:
        fields.warn("compositeWeight", "is not used: each objective is judged by itself, and the strictest decides")
    target = _target(fields)
    op, value = _threshold(fields, own or shared)
    slice_target, slice_window = _slices(fields, method, window)
    fields.allow("indicator", "indicatorRef")
    fields.close()
    if target is None:
        return None
    return Objective(target, display_name, op, value, slice_target, slice_window, own, weight)


def _target(fields: Fields) -> Fraction | None:
    target, percent = fields.number("target"), fields.number("targetPercent")
    if "target" in fields and "targetPercent" in fields:
        fields.fault("targetPercent", "either target or targetPercent, not both")
        return None
    if percent is not None:
        return target_share(fields, "targetPercent", percent, percent=True)
    if target is not None:
        return target_share(fields, "target", target)
    if "target" not in fields and "targetPercent" not in fields:
        fields.fault("target", "is required, or targetPercent")
    return None


def _threshold(fields: Fields, indicator: Indicator | None) -> tuple[str | None, Fraction | None]:
    """Read ``op`` and ``value``: required for a thresholdMetric, meaningless for a ratioMetric.

    The specification's own examples set ``op`` on ratios and oslo's validator refuses it, so it is only a warning here.
    """
    op, value = fields.choice("op", _OPS), fields.number("value")
    if indicator is None:
        return op, value
    if isinstance(indicator.metric, ThresholdMetric):
        for key in ("op", "value"):
            if key not in fields:
                fields.fault(key, "is required: the indicator is a thresholdMetric")
        return op, value
    for key in ("op", "value"):
        if key in fields:
            fields.warn(key, "has no meaning for a ratioMetric and is ignored")
    return None, None


def _slices(fields: Fields, method: BudgetingMethod | None, window: TimeWindow | None) -> tuple[Fraction | None, Duration | None]:
    slice_target = fields.number("timeSliceTarget")
    if slice_target is not None and not 0 < slice_target <= 1:
        fields.fault("timeSliceTarget", "is a share: it must lie above 0 and not above 1, e.g. 0.95 for 95 %")
    slice_window = _slice_window(fields)
    if method is BudgetingMethod.TIMESLICES and "timeSliceTarget" not in fields:
        fields.fault("timeSliceTarget", "is required: budgetingMethod is Timeslices")
    if method in (BudgetingMethod.TIMESLICES, BudgetingMethod.RATIO_TIMESLICES) and "timeSliceWindow" not in fields:
        fields.fault("timeSliceWindow", f"is required: budgetingMethod is {method}")
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


def _slice_window(fields: Fields) -> Duration | None:
    """Read ``timeSliceWindow``; a bare number is minutes [OpenSLO v1]."""
    node = fields.node("timeSliceWindow")
    if isinstance(node, ScalarNode) and node.number is not None:
        minutes = node.number
        if minutes.denominator != 1 or not 0 < minutes <= 1_000_000:
            fields.fault("timeSliceWindow", "must be a whole number of minutes, or a duration such as 5m")
            return None
        return Duration(f"{int(minutes)}m", seconds=int(minutes) * 60)
    return fields.duration("timeSliceWindow", fixed=True)


def _check_division(fields: Fields, part: Duration, whole: Duration) -> None:
    """Check that whole slices fill the window: a remainder would belong to no slice."""
    # Every calendar duration is a whole number of days, so a slice that divides a day divides it.
    length = 86400 if whole.is_calendar else whole.seconds
    if part.seconds > length:
        fields.fault("timeSliceWindow", f"{part} is longer than {'a day' if whole.is_calendar else 'the time window'} ({whole})")
    elif length % part.seconds:
        fields.fault("timeSliceWindow", f"{part} does not divide {'a day' if whole.is_calendar else 'the time window'} ({whole})")


def _window(spec: Fields) -> TimeWindow | None:
    items = spec.subs("timeWindow", required=True)
    if items is None:
        return None
    if len(items) > 1:
        spec.fault("timeWindow", f"must have exactly one item, not {len(items)}")
    windows = [_one_window(item) for item in items]
    return windows[0] if windows else None


def _one_window(fields: Fields) -> TimeWindow | None:
    duration = fields.duration("duration", required=True)
    rolling = fields.boolean("isRolling")
    calendar = fields.sub("calendar")
    has_calendar = "calendar" in fields
    start, zone = _calendar(calendar) if calendar is not None else (None, None)
    fields.close()
    if duration is not None and duration.text.endswith("m") and duration.seconds < 3600:
        count = duration.seconds // 60
        length = "one minute" if count == 1 else f"{count} minutes"
        fields.warn("duration", f"a window of {length}; did you mean {count}M ({count} month{'s' if count > 1 else ''})?")
    if has_calendar and rolling:
        fields.fault("isRolling", "a window with a calendar does not roll; remove isRolling: true or calendar")
    elif not has_calendar and rolling is False:
        fields.fault("calendar", "is required where isRolling is false: startTime and timeZone")
    elif not has_calendar and "isRolling" not in fields:
        fields.fault("isRolling", "is required: write isRolling: true, or give a calendar with startTime and timeZone")
    elif rolling and duration is not None and duration.is_calendar:
        fields.fault("duration", f"{duration} has no fixed length, which a rolling window needs; write {30 * duration.months}d")
    if duration is None or (has_calendar and (start is None or zone is None)):
        return None
    return TimeWindow(duration, not has_calendar, start, zone)


def _calendar(fields: Fields) -> tuple[datetime | None, str | None]:
    text, zone = fields.text("startTime", required=True), fields.text("timeZone", required=True)
    fields.close()
    start = None
    if text is not None:
        try:
            if _START.fullmatch(text) is None:
                raise ValueError(text)
            start = datetime.fromisoformat(text)
        except ValueError:
            fields.fault("startTime", f"{text!r} is not a local time such as 2022-01-01 12:00:00; its zone is said by timeZone")
    if zone is not None:
        try:
            ZoneInfo(zone)
        except (LookupError, ValueError, OSError):  # ZoneInfoNotFoundError, invalid characters, the name of a directory
            fields.fault("timeZone", f"{zone!r} is no IANA time zone{did_you_mean(zone, available_timezones())}")
            zone = None
    return start, zone
