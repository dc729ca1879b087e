"""Compare a dataset with its reference, column by column, and judge the drift."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.drift.engines.local import Progress, is_remote, profile, profile_source
from airflow_slo_provider.drift.engines.source_choice import open_source
from airflow_slo_provider.drift.engines.sources import Filter, Source
from airflow_slo_provider.drift.profiles.columns import ColumnProfile
from airflow_slo_provider.drift.profiles.cuts import Cuts
from airflow_slo_provider.drift.profiles.dataset_profile import DatasetProfile, load_if_profile
from airflow_slo_provider.drift.statistics.distances import benjamini_hochberg
from airflow_slo_provider.drift.statistics.population_stability import FEWEST_ROWS
from airflow_slo_provider.drift.statistics.sql_refinement import GridCounter
from airflow_slo_provider.drift.verdict.column_findings import effect, findings, pvalues
from airflow_slo_provider.drift.verdict.dataset_verdict import dataset_verdict
from airflow_slo_provider.drift.verdict.pairs import MeasuredColumn, MeasureSettings, Rereadable, measure_pair
from airflow_slo_provider.drift.verdict.results import ColumnDrift, DriftReport
from airflow_slo_provider.drift.verdict.thresholds import DriftState, Gates, gates_for, matches_any, read_gates
from airflow_slo_provider.exceptions import InvalidMeasurement


def compare(
    reference: Any,
    current: Any,
    *,
    columns: Sequence[str] | None = None,
    ignore: Iterable[str] = (),
    categorical: Iterable[str] = (),
    tests: Iterable[str] = ("psi", "ks"),
    thresholds: Gates | Mapping[str, Any] | None = None,
    alpha: float = 0.01,
    bins: int = 10,
    exact: bool = False,
    min_rows: int = FEWEST_ROWS,
    critical: Iterable[str] | None = None,
    max_share: float | None = None,
    weights: Mapping[str, float] | None = None,
    prediction: Iterable[str] = (),
    label: Iterable[str] = (),
    where: Filter | None = None,
    reference_where: Filter | None = None,
    progress: Progress | None = None,
) -> DriftReport:
    """Compare two datasets column by column.

    A column drifts when effect and significance agree: a gate of ``thresholds`` is reached, and the p-value is below ``alpha``
    after Benjamini-Hochberg over all columns and tests of the run. The dataset drifts when a critical column drifts, or when more
    than ``max_share`` of the columns' weight drifts. If neither ``critical`` nor ``max_share`` is set, every column is critical.

    :param reference: data to compare with: files, a frame, a table, or a stored profile
    :param current: data to compare, in any of the same forms
    :param columns: columns to compare; default: all columns of both sides
    :param ignore: column names and patterns (``id``, ``*_at``) to leave out
    :param categorical: numeric columns that hold codes and are compared as categories
    :param tests: ``psi``, ``ks`` (total variation for texts and booleans) or both
    :param thresholds: gates by name, and mappings of gates by column name or pattern; default: those of ``Gates()``
    :param alpha: false discovery rate
    :param bins: number of bins of the population stability index, with equal shares of the reference
    :param exact: compute every Kolmogorov-Smirnov statistic exactly, not only where its interval leaves a verdict open
    :param min_rows: a column with fewer values on either side is ``insufficient_data``
    :param critical: names and patterns of critical columns; drift of any other column is a warning, or counts through
        ``max_share``
    :param max_share: share of the columns' weight that may drift, in [0, 1]
    :param weights: weight per column, e.g. feature importance; 1 for columns that are not listed
    :param prediction: columns that hold the model's output; always critical
    :param label: columns that hold the true values; always critical
    :param where: (column, operator, value) conditions that rows of ``current`` must satisfy
    :param reference_where: the same for ``reference``
    :param progress: called with (pieces done, pieces in total) while this process reads rows
    :return: the verdict of the dataset and of each column
    :raises QueryError: when data cannot be read
    :raises InvalidMeasurement: when a column named by ``columns``, ``critical``, ``prediction``, ``label`` or ``thresholds`` is
        on neither side or is left out of the comparison, because a requested check that was not made must not pass; and when
        ``weights`` names a column that is on neither side
    :raises ValueError: for invalid thresholds or parameters
    """
    base, by_column = read_gates(thresholds)
    chosen_tests = text_list(tests)
    if not chosen_tests or set(chosen_tests) - {"psi", "ks"}:
        raise ValueError(f"tests {chosen_tests!r}: set psi, ks or both")
    if not 0 < alpha < 1 or not 0 <= (max_share or 0) <= 1 or bins < 2 or min_rows < 1:
        rules = f"alpha {alpha} must be in (0, 1), max_share {max_share} in [0, 1], bins {bins} at least 2"
        raise ValueError(f"{rules}, min_rows {min_rows} at least 1")
    weights = weights or {}
    if any(not 0 <= weight < float("inf") for weight in weights.values()):
        raise ValueError("weights must be finite and not negative")
    codes, ignored = frozenset(text_list(categorical)), text_list(ignore)
    predictions, labels, critical_names = (text_list(names) for names in (prediction, label, critical))
    selected = None if columns is None else text_list(columns)
    known: set[str] = set()

    def select(names: Iterable[str]) -> list[str]:
        names = list(names)
        known.update(names)
        return [name for name in names if (selected is None or name in selected) and not matches_any(name, ignored)]

    old, old_source = _profile_side(reference, select, reference_where, codes, _half_progress(progress, 0))
    counted = current
    if type(current).__name__ == "SQLData":
        counted = current.profile(select(current.names()), like=old, categorical=codes)
    new, new_source = _profile_side(counted, select, where, codes, _half_progress(progress, 1))
    names = list({**old.columns, **new.columns})
    # A threshold pattern may match nothing, since it can be shared by many datasets; a critical pattern must match a column.
    plain = [name for name in by_column if not set(name) & set("*?[")]
    required: dict[str, Iterable[str]] = {"prediction": predictions, "label": labels, "columns": selected or ()}
    required |= {"critical": critical_names, "thresholds": plain}
    for parameter, patterns in required.items():
        as_patterns = parameter in ("critical", "thresholds")
        _require_known(parameter, _unmatched(patterns, known, as_patterns), known)
        _require_compared(parameter, _unmatched(patterns, names, as_patterns))
    _require_known("weights", _unmatched(weights, known, False), known)
    settings = MeasureSettings(tests=chosen_tests, bins=bins, exact=exact, min_rows=min_rows)
    sources = _rereadable_sources((reference, current), (old_source, new_source), old)
    sides = {name: (old.columns.get(name), new.columns.get(name)) for name in names}
    gates = {name: gates_for(name, base, by_column) for name in names}
    measured = {name: measure_pair(*sides[name], gates[name], settings, sources) for name in names}
    adjusted = _adjust({name: pvalues(measures, tests=chosen_tests) for name, (_, _, measures) in measured.items()})
    judged = {}
    for name in names:
        column = _judge(name, measured[name], sides[name], gates[name], adjusted[name], alpha)
        role = "prediction" if name in predictions else "label" if name in labels else "feature"
        judged[name] = replace(column, role=role, weight=float(weights.get(name, 1.0)))
    verdict, message, share = dataset_verdict(
        judged, critical=None if critical is None else critical_names, max_share=max_share, rows=(old.rows, new.rows)
    )
    return DriftReport(
        verdict=verdict,
        message=message,
        columns=judged,
        drifted_share=share,
        reference=old.source,
        current=new.source,
        reference_rows=old.rows,
        current_rows=new.rows,
        alpha=alpha,
    )


def _unmatched(patterns: Iterable[str], names: Collection[str], as_patterns: bool) -> list[str]:
    """Return the names, or patterns, that no column has."""
    if not as_patterns:
        return [name for name in patterns if name not in names]
    return [pattern for pattern in patterns if not any(matches_any(name, (pattern,)) for name in names)]


def _require_known(parameter: str, unknown: Sequence[str], known: Iterable[str]) -> None:
    if unknown:
        rule = f"{parameter} names {', '.join(map(repr, unknown))}, which is not a column of either side"
        raise InvalidMeasurement(f"{rule}; there are {', '.join(sorted(known)[:50]) or 'none'}", reason="unknown_column")


def _require_compared(parameter: str, left_out: Sequence[str]) -> None:
    if left_out:
        rule = f"{parameter} names {', '.join(map(repr, left_out))}, which is left out of the comparison"
        raise InvalidMeasurement(f"{rule}; take it out of ignore, or add it to columns", reason="not_compared")


def _rereadable_sources(sides: tuple[Any, Any], sources: tuple[Source | None, Source | None], old: DatasetProfile) -> Rereadable:
    """Return what can be read again: rows on both sides, or a database beside a database or a stored profile."""
    if sources[0] is not None and sources[1] is not None:
        return sources[0], sources[1]
    if type(sides[1]).__name__ != "SQLData":
        return None
    if type(sides[0]).__name__ == "SQLData":
        return sides
    on_grids = all(not isinstance(column.distribution, Cuts) for column in old.columns.values())
    return (GridCounter(), sides[1]) if on_grids else None


def _half_progress(progress: Progress | None, index: int) -> Progress | None:
    """Report the progress of two readings as one: the reference is the first half."""
    if progress is None:
        return None
    return lambda done, total: progress(done + index * total, 2 * total)


def _profile_side(
    data: Any,
    select: Callable[[Iterable[str]], list[str]],
    where: Filter | None,
    categorical: frozenset[str],
    progress: Progress | None,
) -> tuple[DatasetProfile, Source | None]:
    """Profile one side; missing columns are not an error here, they are judged later.

    :param select: filters column names to those that are compared
    """
    data = load_if_profile(data) or data
    if isinstance(data, DatasetProfile) or is_remote(data) or type(data).__module__.startswith("pyspark."):
        columns = select(data.names() if is_remote(data) else data.columns)
        profiled = profile(data, columns, where=where, categorical=categorical)
        return (profiled if profiled.source else replace(profiled, source="profile")), None
    source = open_source(data, where=where)
    return profile_source(source, select(source.columns()), categorical=categorical, progress=progress), source


def _adjust(raw: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Adjust p-values over all columns and tests of the run together; per test, false alarms would be several times as likely."""
    tests = [(name, test) for name, by_test in raw.items() for test in by_test]
    adjusted: dict[str, dict[str, float]] = {name: {} for name in raw}
    for (name, test), value in zip(tests, benjamini_hochberg([raw[name][test] for name, test in tests]), strict=True):
        adjusted[name][test] = value
    return adjusted


def _judge(
    name: str,
    measured: MeasuredColumn,
    sides: tuple[ColumnProfile | None, ColumnProfile | None],
    gates: Gates,
    adjusted: Mapping[str, float],
    alpha: float,
) -> ColumnDrift:
    from airflow_slo_provider.drift.verdict.cause_hints import hints_for

    state, message, measures = measured
    found = findings(measures, gates, adjusted, alpha, enough=state is None)
    if state in (None, DriftState.INSUFFICIENT_DATA, DriftState.SKIPPED):
        worst = next((level for level in (DriftState.DRIFT, DriftState.WARN) if any(item.state is level for item in found)), None)
        # The null rate can be judged without enough values; its drift must not be hidden by "insufficient_data" or "skipped".
        if state is None:
            state = worst or DriftState.OK
        elif worst is DriftState.DRIFT or (worst and state is DriftState.SKIPPED):
            state = worst
    reasons = tuple(item.text for item in found)
    return ColumnDrift(
        name=name,
        verdict=state or DriftState.OK,
        message="; ".join(filter(None, (message, *reasons))) or "no difference that counts",
        reasons=reasons,
        kind=next(side.kind for side in sides if side is not None),
        effect=effect(measures, gates),
        adjusted=adjusted,
        hints=hints_for(*sides, measures) if state not in (DriftState.OK, DriftState.SKIPPED) else (),
        **vars(measures),
    )
