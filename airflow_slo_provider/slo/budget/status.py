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
from airflow_slo_provider.slo.budget.indicator_source import Measurement, Slices
from airflow_slo_provider.slo.budget.measurement_requests import CURRENT, Answers, Part
from airflow_slo_provider.slo.budget.reports import SLOReport, Status
from airflow_slo_provider.slo.budget.silence import require_events, silence_of
from airflow_slo_provider.slo.budget.time_slices import SliceSummary, summarise
from airflow_slo_provider.slo.budget.windows import nominal_length
from airflow_slo_provider.slo.model import CalendarDenominator, MissingSlices

#: A server without any series for this long has lost the service, whatever its longer windows still contain.
_BLIND = CURRENT
#: No series for the total; or none for the failures, and no evidence that there were none.
_UNSEEN = ("empty", "bad_series_missing")


def judge(part: Part, answers: Answers) -> SLOReport:
    """Create the report of one objective.

    :param part: the objective and its requests
    :param answers: the answers of the source
    """
    whole = answers.whole
    if isinstance(whole, MeasurementError):
        return unknown(part, whole)
    try:
        require_events(part, answers)
        found = _of_slices(part, whole) if isinstance(whole, Slices) else _of_events(part, whole, answers.windows)
        return replace(found, silence=silence_of(part, answers))
    except MeasurementError as error:
        return unknown(part, error)


def unknown(part: Part, error: MeasurementError) -> SLOReport:
    """Create the report of an objective without an available measurement."""
    status = Status.NO_DATA if isinstance(error, NoData) else Status.QUERY_ERROR
    return replace(_blank(part), status=status, message=str(error.message), error=error, query=error.query or "")


def with_coverage(report: SLOReport, answer: object) -> SLOReport:
    """Add the share of the window that holds data.

    It stays None if the source cannot measure it; a failed measurement sets ``coverage_failed``.
    """
    if isinstance(answer, MeasurementError) and answer.reason != "coverage_unknown":
        note = f"how much of the window holds data could not be found out: {answer.message}"
        return replace(report, coverage_failed=True, message=f"{report.message}; {note}")
    if not isinstance(answer, Fraction):
        return report
    if answer >= report.slo.options.min_coverage:
        return replace(report, coverage=answer)
    least = percent(report.slo.options.min_coverage)
    note = f"only {percent(answer)} of the window holds data, below the {least} from which its budget may freeze anything"
    return replace(report, coverage=answer, message=f"{report.message}; {note}")


def _blank(part: Part) -> SLOReport:
    return SLOReport(
        name=part.name,
        slo=part.slo,
        objective=part.objective,
        at=part.at,
        start=part.span.start,
        end=part.span.end,
        status=Status.NO_DATA,
    )


def _of_events(part: Part, whole: Measurement, windows: Mapping[timedelta, Measurement | MeasurementError]) -> SLOReport:
    rates = []
    for window, answer in windows.items():
        if isinstance(answer, MeasurementError):
            if not isinstance(answer, NoData):
                raise answer
            if part.source[0] == "Prometheus" and window == _BLIND and answer.reason in _UNSEEN:
                raise NoData(
                    f"nothing was measured in the last {format_seconds(int(window.total_seconds()))}: {answer.message}",
                    reason=answer.reason, query=answer.query, source=answer.source,
                )  # fmt: skip
            rates.append(BurnRate(window, None, problem=answer.message))
        else:
            rates.append(_rate(part, window, answer.ratio, answer.good, answer.total))
    report = replace(_blank(part), good=whole.good, total=whole.total, burn_rates=tuple(rates), query=whole.query)
    scale = part.span.projection if _projects(part) else Fraction(1)
    report = _finished(part, report, whole.ratio, scale, events=whole.total, failures=_failures(whole.good, whole.total))
    return replace(report, message=f"{report.message}; {whole.note}") if whole.note else report


def _projects(part: Part) -> bool:
    return not part.slo.window.rolling and part.slo.options.calendar_denominator is not CalendarDenominator.ELAPSED


def _of_slices(part: Part, slices: Slices) -> SLOReport:
    width, missing = slices.width, part.slo.options.missing_slices
    end = slices.start + width * len(slices.values)
    if missing is not MissingSlices.BAD and slices.last_seen is not None and slices.last_seen <= end - max(_BLIND, width):
        ago = format_seconds(int((end - slices.last_seen).total_seconds()))
        raise NoData(f"nothing was measured in the last {ago}", reason="empty", query=slices.query)
    before = (part.span.start - slices.start) // width  # slices that only burn rates use
    own = slices.values[before:]
    summary = _summary(part, own)
    rates = []
    for window in part.windows:
        count = window // width
        if count == 0:
            problem = f"shorter than a time slice ({format_seconds(int(width.total_seconds()))})"
            rates.append(BurnRate(window, None, problem=problem))
            continue
        try:
            found = _summary(part, slices.values[-count:])
        except NoData as error:
            if missing is MissingSlices.BAD:  # the whole window holds data, so a slice without data is bad and burns budget
                rates.append(_rate(part, window, Fraction(0), None, None))
            else:
                rates.append(BurnRate(window, None, problem=error.message))
        else:
            rates.append(_rate(part, window, found.sli, found.good, found.total))
    report = replace(
        _blank(part),
        good=summary.good,
        total=summary.total,
        burn_rates=tuple(rates),
        coverage=summary.coverage,
        missing=summary.missing,
        query=slices.query,
    )
    scale = Fraction(1)
    if _projects(part):
        scale = Fraction(part.span.length // width, max(1, len(own)))
    counted = [one for one in own if one is not None and one.total is not None and one.good is not None]
    events = sum((one.total or Fraction(0) for one in counted), Fraction(0)) if counted else None
    good = sum((one.good or Fraction(0) for one in counted), Fraction(0)) if counted else None
    report = _finished(part, report, summary.sli, scale, events=events, failures=_failures(good, events))
    return with_coverage(report, summary.coverage)


def _summary(part: Part, values: tuple[Measurement | None, ...]) -> SliceSummary:
    options = part.slo.options
    return summarise(values, part.slo.method, slice_target=part.objective.time_slice_target, missing=options.missing_slices)


def _rate(part: Part, window: timedelta, sli: Fraction, good: Fraction | None, total: Fraction | None) -> BurnRate:
    return BurnRate(window, (1 - sli) / budget_share(part.objective.target), good, total)


def _failures(good: Fraction | None, total: Fraction | None) -> Fraction | None:
    return None if good is None or total is None else total - good


def _finished(
    part: Part, report: SLOReport, sli: Fraction, scale: Fraction, *, events: Fraction | None, failures: Fraction | None
) -> SLOReport:
    """Add budget, alerts, time to exhaustion and status.

    :param scale: ratio of the events of the whole window to the measured total
    :param events: events behind the SLI, if the source counts them
    :param failures: bad events behind the SLI, if the source counts them
    """
    window = nominal_length(part.slo.window)
    length = window if part.slo.window.rolling else part.span.length
    budget = budget_of_sli(budget_share(part.objective.target), sli, length, report.total, scale=scale)
    firing = tuple(rule for rule in part.burn if _fires(part, report, rule))
    report = replace(report, budget=budget)
    current = current_rate(report)
    assert current is not None
    assert current.value is not None
    options = part.slo.options
    if budget.remaining <= 0:
        status = Status.EXHAUSTED
    elif firing:
        status = Status.BURNING
    elif budget.remaining < part.policy.warning_level:
        status = Status.WARNING
    else:
        status = Status.HEALTHY
    few = None
    if events is not None and events < options.min_events:
        few = f"{_number(events)} events, fewer than the {options.min_events} from which this objective is judged"
    elif status is not Status.HEALTHY and failures is not None and failures < options.min_failures:
        few = f"{_number(failures)} failures, fewer than the {options.min_failures} from which they count"
    report = replace(
        report,
        status=Status.LOW_TRAFFIC if few else status,
        firing=firing,
        time_to_exhaustion=time_to_exhaustion(budget.remaining, current.value, length),
    )
    return replace(report, message=few or _message(report, part))


def _fires(part: Part, report: SLOReport, rule: BurnRateRule) -> bool:
    short, long = report.burn_rate(rule.short), report.burn_rate(rule.long)
    if short is None or long is None or not rule.fires(short.value, long.value):
        return False
    if short.value is None or short.value <= 1 or long.value is None or long.value <= 1:
        return False  # the budget lasts; for short windows a rule's factor may be below 1
    failures = _failures(long.good, long.total)
    return part.slice_width is not None or failures is None or failures >= part.slo.options.min_failures


def current_rate(report: SLOReport) -> BurnRate | None:
    """Return the burn rate of the last hour, or of the next longer measured window, possibly the objective's own."""
    found = next((rate for rate in report.burn_rates if rate.window >= CURRENT and rate.value is not None), None)
    if found is None and report.budget is not None:
        rate = (1 - report.budget.sli) / report.budget.budget
        return BurnRate(report.end - report.start, rate, report.good, report.total)
    return found


def _message(report: SLOReport, part: Part) -> str:
    assert report.budget is not None
    left = f"{percent(report.budget.remaining)} of the error budget is left"
    if report.status is Status.EXHAUSTED:
        text = f"the error budget is spent: {percent(report.budget.consumed, up=True)} of it is used"
    elif report.status is Status.BURNING:
        rule = report.firing[0]
        rate = report.burn_rate(rule.long)
        assert rate is not None
        assert rate.value is not None
        window = format_seconds(int(rule.long.total_seconds()))
        text = f"the error budget burns at {float(rate.value):.3g} times the sustainable rate over {window}; {left}"
    elif report.status is Status.WARNING:
        text = f"only {left}"
    else:
        text = left
    if report.missing not in (None, MissingSlices.IGNORE) and report.coverage is not None and report.coverage < 1:
        text += f"; time slices without data count as {report.missing}"
    return text


def _number(value: Fraction) -> str:
    return f"{float(value):g}"
