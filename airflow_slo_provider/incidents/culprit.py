"""Find the model version, client or region whose failure rate stands out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from airflow_slo_provider.core.exact_numbers import exact
from airflow_slo_provider.core.redaction import redact
from airflow_slo_provider.exceptions import writable
from airflow_slo_provider.results import CheckResult


@dataclass(frozen=True)
class Culprit:
    """The result of a comparison: the outlier, if any.

    :param name: name of the outlier; None if there is none
    :param message: the reason, one sentence
    :param values: the compared values, highest first
    """

    name: str | None
    message: str
    values: Mapping[str, float]


def find_outlier(values: Mapping[str, Fraction | None], *, at_least: Fraction, times: Fraction) -> Culprit:
    """Find the item with the highest value, if that is high enough and well above the next highest.

    :param values: values by name; None (NaN) if unknown
    :param at_least: minimum value of an outlier
    :param times: minimum ratio of the highest value to the next highest
    """
    # Names are label values, which may come from a client of the service.
    known = {redact(writable(name), limit=None): value for name, value in values.items() if value is not None}
    ordered = sorted(known, key=lambda name: (-known[name], name))
    shown = {name: float(known[name]) for name in ordered}
    if not ordered:
        return Culprit(None, "there are no values to compare", shown)
    first, value = ordered[0], known[ordered[0]]
    if value <= 0 or value < at_least:
        return Culprit(None, f"{first} has the highest value, {float(value):.4g}, and that is below {float(at_least):.4g}", shown)
    if len(ordered) == 1:
        return Culprit(first, f"{first} has {float(value):.4g}, and there is no other", shown)
    second = ordered[1]
    if value < times * known[second]:
        both = f"{first} has {float(value):.4g} and {second} {float(known[second]):.4g}"
        return Culprit(None, f"{both}: neither exceeds the other by a factor of {float(times):g}", shown)
    return Culprit(first, f"{first} has {float(value):.4g}, the next one ({second}) {float(known[second]):.4g}", shown)


def bad_event_shares(checks: Iterable[CheckResult]) -> dict[str, Fraction | None]:
    """Return the share of bad events by model version.

    :param checks: checks with event counts; those without events or without a version are left out
    """
    counts: dict[str, tuple[Fraction, Fraction]] = {}
    for check in checks:
        if check.model_version and check.good is not None and check.total is not None:
            good, total = counts.get(check.model_version, (Fraction(0), Fraction(0)))
            counts[check.model_version] = (good + exact(check.good), total + exact(check.total))
    return {version: (total - good) / total if total else None for version, (good, total) in counts.items()}
