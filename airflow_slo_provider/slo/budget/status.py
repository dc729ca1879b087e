"""Compute the report of an objective from its measurements: budget, burn rates, status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

from airflow_slo_provider.core.exact_numbers import percent
from airflow_slo_provider.documents.durations import format_seconds
from airflow_slo_provider.exceptions import MeasurementError, NoData
from airflow_slo_provider.slo.budget.error_budgets import BurnRate, BurnRateRule, budget_of_sli, budget_share, time_to_exhaustion
from airflow_slo_provider.slo.budget.indicator_source import Measurement, Slices, contradicts_itself
from airflow_slo_provider.slo.budget.measurement_requests import MeasurementPlan, ObjectiveMeasurements
from airflow_slo_provider.slo.budget.reports import SLOReport, Status
from airflow_slo_provider.slo.budget.silence import measure_silence, require_events
from airflow_slo_provider.slo.budget.time_slices import SliceSummary, summarise
from airflow_slo_provider.slo.model import CalendarDenominator, MissingSlices
from airflow_slo_provider.slo.policy.error_budget_policy import CURRENT

#: A server without any series for this long has lost the service, whatever its longer windows still contain.
_LOST = CURRENT
#: Reasons of a missing measurement: no series for the total; or none for the failures, and no evidence that there were none.
_NO_SERIES = ("empty", "bad_series_missing")


def create_report(plan: MeasurementPlan, measured: ObjectiveMeasurements) -> SLOReport:
    """Create the report of one objective.

    :param plan: the objective and its requests
    :param measured: the answers of the source
    """
    whole = measured.whole
    try:
        if isinstance(whole, MeasurementError):
            raise whole
        require_events(plan, measured)
        report = _report_slices(plan, whole) if isinstance(whole, Slices) else _report_events(plan, whole, measured.windows)
        message = "; ".join(filter(None, (report.message, report.declaration)))
        return replace(report, message=message, silence=measure_silence(plan, measured))
    except MeasurementError as error:
        return add_error(_blank_report(plan), error)


def add_error(report: SLOReport, error: MeasurementError) -> SLOReport:
    """Add the reason why no measurement is available to a report without one."""
    status = Status.NO_DATA if isinstance(error, NoData) else Status.QUERY_ERROR
    return replace(report, status=status, message=error.message, error=error, query=error.query or "")


def add_coverage(report: SLOReport, answer: object) -> SLOReport:
    """Add the share of the window that holds data.

    It stays None if the source cannot measure it; a failed measurement sets ``coverage_failed``.
    """
    if isinstance(answer, MeasurementError) and answer.reason != "coverage_unknown":
        note = f"the share of the window that holds data could not be measured: {answer.message}"
        return replace(report, coverage_failed=True, message=f"{report.message}; {note}")
    if not isinstance(answer, Fraction):
        return report
    message, least = report.message, report.slo.options.min_coverage
    if answer < least:
        message += f"; only {percent(answer)} of the window holds data; its budget may freeze deployments from {percent(least)}"
    return replace(report, coverage=answer, message=message)


def _blank_report(plan: MeasurementPlan) -> SLOReport:
    return SLOReport(
        name=plan.name, slo=plan.slo, objective=plan.objective, at=plan.at, start=plan.span.start, end=plan.span.end,
        status=Status.NO_DATA,
    )  # fmt: skip


def _report_events(
    plan: MeasurementPlan, whole: Measurement, windows: Mapping[timedelta, Measurement | MeasurementError]
) -> SLOReport:
    rates = []
    for window, answer in windows.items():
        if isinstance(answer, Measurement):
            rates.append(_burn_rate(plan, window, answer.ratio, answer.good, answer.total))
            continue
        if contradicts_itself(answer):
            rates.append(BurnRate(window, None, problem=answer.message, is_unknown=True))
            continue
        if not isinstance(answer, NoData):
            raise answer
        if plan.source[0] == "Prometheus" and window == _LOST and answer.reason in _NO_SERIES:
            message = f"no measurement in the last {_format(window)}: {answer.message}"
            raise NoData(message, reason=answer.reason, query=answer.query, source=answer.source)
        rates.append(BurnRate(window, None, problem=answer.message))
    report = replace(_blank_report(plan), good=whole.good, total=whole.total, burn_rates=tuple(rates), query=whole.query)
    scale = plan.span.projection if _is_projected(plan) else Fraction(1)
    report = _add_budget(plan, report, whole.ratio, scale, events=whole.total, failures=_failures(whole.good, whole.total))
    return replace(report, message=f"{report.message}; {whole.note}") if whole.note else report


def _is_projected(plan: MeasurementPlan) -> bool:
    return not plan.slo.window.rolling and plan.slo.options.calendar_denominator is not CalendarDenominator.ELAPSED


def _report_slices(plan: MeasurementPlan, slices: Slices) -> SLOReport:
    width, missing = slices.width, plan.slo.options.missing_slices
    end = slices.start + width * len(slices.values)
    if missing is not MissingSlices.BAD and slices.last_seen is not None and slices.last_seen <= end - max(_LOST, width):
        raise NoData(f"no measurement in the last {_format(end - slices.last_seen)}", reason="empty", query=slices.query)
    earlier = (plan.span.start - slices.start) // width  # slices that only burn rates use
    own = slices.values[earlier:]
    summary = _summarise(plan, own)
    rates = []
    for window in plan.windows:
        count = window // width
        if count == 0:
            rates.append(BurnRate(window, None, problem=f"shorter than a time slice ({_format(width)})"))
            continue
        try:
            found = _summarise(plan, slices.values[-count:])
        except NoData as error:
            if missing is MissingSlices.BAD:  # the whole window holds data, so a slice without data is bad and burns budget
                rates.append(_burn_rate(plan, window, Fraction(0), None, None))
            else:
                rates.append(BurnRate(window, None, problem=error.message))
        else:
            rates.append(_burn_rate(plan, window, found.sli, found.good, found.total))
    report = replace(
        _blank_report(plan), good=summary.good, total=summary.total, burn_rates=tuple(rates), coverage=summary.coverage,
        missing=summary.missing, query=slices.query,
    )  # fmt: skip
    scale = Fraction(plan.span.length // width, max(1, len(own))) if _is_projected(plan) else Fraction(1)
    counts = [(value.good, value.total) for value in own if value and value.good is not None and value.total is not None]
    good, events = (sum(column, Fraction(0)) for column in zip(*counts, strict=True)) if counts else (None, None)
    report = _add_budget(plan, report, summary.sli, scale, events=events, failures=_failures(good, events))
    return add_coverage(report, summary.coverage)


def _summarise(plan: MeasurementPlan, values: tuple[Measurement | None, ...]) -> SliceSummary:
    missing = plan.slo.options.missing_slices
    return summarise(values, plan.slo.method, slice_target=plan.objective.time_slice_target, missing=missing)


def _burn_rate(
    plan: MeasurementPlan, window: timedelta, sli: Fraction, good: Fraction | None, total: Fraction | None
) -> BurnRate:
    return BurnRate(window, (1 - sli) / budget_share(plan.objective.target), good, total)


def _failures(good: Fraction | None, total: Fraction | None) -> Fraction | None:
    return None if good is None or total is None else total - good


def _add_budget(
    plan: MeasurementPlan,
    report: SLOReport,
    sli: Fraction,
    scale: Fraction,
    *,
    events: Fraction | None,
    failures: Fraction | None,
) -> SLOReport:
    """Add budget, alerts, time to exhaustion and status.

    :param scale: ratio of the events of the whole window to the measured total
    :param events: events behind the SLI, if the source counts them
    :param failures: bad events behind the SLI, if the source counts them
    """
    length = plan.span.length
    budget = budget_of_sli(budget_share(plan.objective.target), sli, length, report.total, scale=scale)
    firing = tuple(rule for rule in plan.burn if _fires(plan, report, rule))
    report = replace(report, budget=budget, uncertain=_uncertain_rules(plan, report, firing))
    current = current_rate(report)
    assert current is not None
    assert current.value is not None
    options = plan.slo.options
    if budget.remaining <= 0:
        status = Status.EXHAUSTED
    elif firing:
        status = Status.BURNING
    elif budget.remaining < plan.policy.warning_level:
        status = Status.WARNING
    else:
        status = Status.HEALTHY
    few = ""
    if events is not None and events < options.min_events:
        few = f"{float(events):g} events, fewer than the {options.min_events} of min-events"
    elif status is not Status.HEALTHY and failures is not None and failures < options.min_failures:
        few = f"{float(failures):g} failures, fewer than the {options.min_failures} of min-failures"
    left = time_to_exhaustion(budget.remaining, current.value, length)
    report = replace(report, status=Status.LOW_TRAFFIC if few else status, firing=firing, time_to_exhaustion=left)
    report = replace(report, message=(few or _format_status(report)) + _format_unknown(report))
    if report.status is Status.HEALTHY and _is_doubtful(plan, report):
        return replace(report, status=Status.WARNING)
    return report


def _is_doubtful(plan: MeasurementPlan, report: SLOReport) -> bool:
    """Return whether a fast burn may be hidden by unknown burn rates."""
    return bool(report.uncertain) or not plan.policy.accepts_unknown(rate.window for rate in report.unknown_rates)


def _uncertain_rules(plan: MeasurementPlan, report: SLOReport, firing: tuple[BurnRateRule, ...]) -> tuple[BurnRateRule, ...]:
    """Return the rules that do not fire by the known burn rates, and would if all events of the unknown windows were bad."""
    worst = 1 / budget_share(plan.objective.target)
    rates = tuple(replace(rate, value=worst) if rate.is_unknown else rate for rate in report.burn_rates)
    supposed = replace(report, burn_rates=rates)
    return tuple(rule for rule in plan.burn if rule not in firing and _fires(plan, supposed, rule))


def _fires(plan: MeasurementPlan, report: SLOReport, rule: BurnRateRule) -> bool:
    short, long = report.burn_rate(rule.short), report.burn_rate(rule.long)
    if short is None or long is None or not rule.fires(short.value, long.value):
        return False
    failures = _failures(long.good, long.total)
    return plan.slice_width is not None or failures is None or failures >= plan.slo.options.min_failures


def current_rate(report: SLOReport) -> BurnRate | None:
    """Return the burn rate of the last hour, or of the next longer measured window, possibly the objective's own."""
    found = next((rate for rate in report.burn_rates if rate.window >= CURRENT and rate.value is not None), None)
    if found is None and report.budget is not None:
        rate = (1 - report.budget.sli) / report.budget.budget
        return BurnRate(report.end - report.start, rate, report.good, report.total)
    return found


def _format_status(report: SLOReport) -> str:
    assert report.budget is not None
    left = f"{percent(report.budget.remaining)} of the error budget is left"
    text = f"only {left}" if report.status is Status.WARNING else left
    if report.status is Status.EXHAUSTED:
        text = f"the error budget is spent: {percent(report.budget.consumed, up=True)} of it is used"
    elif report.status is Status.BURNING:
        rule = report.firing[0]
        rate = report.burn_rate(rule.long)
        assert rate is not None
        assert rate.value is not None
        text = f"the error budget burns at {float(rate.value):.3g} times the sustainable rate over {_format(rule.long)}; {left}"
    if report.missing not in (None, MissingSlices.IGNORE) and report.coverage is not None and report.coverage < 1:
        text += f"; time slices without data count as {report.missing}"
    return text


def _format_unknown(report: SLOReport) -> str:
    """Return the part of the message about unknown burn rates; empty if all are known."""
    if not report.unknown_rates:
        return ""
    windows = ", ".join(_format(rate.window) for rate in report.unknown_rates)
    text = f"; unknown burn rate over {windows}: {report.unknown_rates[0].problem}"
    for rule in report.uncertain:
        text += f"; it is unknown whether the {rule.severity} alert over {_format(rule.long)} and {_format(rule.short)} fires"
    return text


def _format(length: timedelta) -> str:
    return format_seconds(int(length.total_seconds()))
