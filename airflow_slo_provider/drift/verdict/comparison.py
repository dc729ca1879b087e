"""Compare a dataset with its reference, column by column, and judge the drift."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.drift.engines.local import Progress, profile, profile_source
from airflow_slo_provider.drift.engines.source_choice import open_source
from airflow_slo_provider.drift.engines.sources import Filter, Source, check_filter
from airflow_slo_provider.drift.profiles.columns import ColumnProfile
from airflow_slo_provider.drift.profiles.cuts import Cuts
from airflow_slo_provider.drift.profiles.dataset_profile import DatasetProfile, load_if_profile
from airflow_slo_provider.drift.statistics.column_measures import Measures
from airflow_slo_provider.drift.statistics.distances import benjamini_hochberg
from airflow_slo_provider.drift.statistics.population_stability import FEWEST_ROWS
from airflow_slo_provider.drift.statistics.sql_refinement import GridCounter
from airflow_slo_provider.drift.verdict.column_findings import effect, findings, pvalues
from airflow_slo_provider.drift.verdict.dataset_verdict import dataset_verdict
from airflow_slo_provider.drift.verdict.pairs import Again, Pair, measure_pair
from airflow_slo_provider.drift.verdict.results import ColumnDrift, DriftReport
from airflow_slo_provider.drift.verdict.thresholds import Gates, State, fits, gates_for, read_gates
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
    base, own = read_gates(thresholds)
    made = text_list(tests)
    if not made or set(made) - {"psi", "ks"}:
        raise ValueError(f"tests {made!r}: give psi, ks or both")
    if not 0 < alpha < 1 or not 0 <= (max_share or 0) <= 1 or bins < 2 or min_rows < 1:
        raise ValueError(
            f"alpha {alpha} must be in (0, 1), max_share {max_share} in [0, 1], bins {bins} at least 2, "
            f"min_rows {min_rows} at least 1"
        )
    if any(not 0 <= weight < float("inf") for weight in (weights or {}).values()):
        raise ValueError("weights must be finite and not negative")
    codes, skip = frozenset(text_list(categorical)), text_list(ignore)
    outputs, truths, binding = (text_list(given) for given in (prediction, label, critical))
    wanted = None if columns is None else text_list(columns)
    seen: set[str] = set()

    def asked(names: Iterable[str]) -> list[str]:
        names = list(names)
        seen.update(names)
        return [name for name in names if (wanted is None or name in wanted) and not fits(name, skip)]

    old, old_source = _side(reference, asked, reference_where, codes, _half(progress, 0))
    counted = current
    if type(current).__name__ == "SQLData":
        counted = current.profile(asked(current.names()), like=old, categorical=codes)
    new, new_source = _side(counted, asked, where, codes, _half(progress, 1))
    names = list({**old.columns, **new.columns})
    for what, given in (("prediction", outputs), ("label", truths), ("columns", wanted or ())):
        _there(what, [name for name in given if name not in seen], seen)
        _compared(what, [name for name in given if name not in names])
    # A threshold pattern may match nothing, since it can be shared by many datasets; a critical pattern must match a column.
    plain = [name for name in own if not set(name) & set("*?[")]
    for what, patterns in (("critical", binding), ("thresholds", plain)):
        _there(what, [name for name in patterns if not any(fits(one, (name,)) for one in seen)], seen)
        _compared(what, [name for name in patterns if not any(fits(one, (name,)) for one in names)])
    _there("weights", [name for name in weights or () if name not in seen], seen)
    settings = Pair(tests=made, bins=bins, exact=exact, min_rows=min_rows)
    sources = _again((reference, current), (old_source, new_source), old)
    measured = {
        name: measure_pair(old.columns.get(name), new.columns.get(name), gates_for(name, base, own), settings, sources)
        for name in names
    }
    raw = {name: pvalues(measures, tests=made) for name, (_, _, measures) in measured.items()}
    adjusted = _adjust(raw)
    judged = {}
    for name, (state, message, measures) in measured.items():
        side = old.columns.get(name) or new.columns[name]
        role = "prediction" if name in outputs else "label" if name in truths else "feature"
        weight = float((weights or {}).get(name, 1.0))
        judged[name] = _judge(
            name,
            state,
            message,
            measures,
            gates_for(name, base, own),
            adjusted[name],
            alpha,
            (old.columns.get(name), new.columns.get(name)),
            kind=side.kind,
            role=role,
            weight=weight,
        )
    verdict, message, share = dataset_verdict(
        judged, critical=None if critical is None else binding, max_share=max_share, rows=(old.rows, new.rows)
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


def _there(what: str, missing: Sequence[str], seen: Iterable[str]) -> None:
    if missing:
        raise InvalidMeasurement(
            f"{what} names {', '.join(map(repr, missing))}, which is no column on either side; "
            f"there are {', '.join(sorted(seen)[:50]) or 'none'}",
            reason="unknown_column",
        )


def _compared(what: str, left: Sequence[str]) -> None:
    if left:
        raise InvalidMeasurement(
            f"{what} names {', '.join(map(repr, left))}, which is left out of the comparison; "
            "take it out of ignore, or add it to columns",
            reason="not_compared",
        )


def _again(sides: tuple[Any, Any], sources: tuple[Source | None, Source | None], old: DatasetProfile) -> Again:
    """Return what can be read again: rows on both sides, or a database beside a database or a stored profile."""
    if sources[0] is not None and sources[1] is not None:
        return sources[0], sources[1]
    if type(sides[1]).__name__ != "SQLData":
        return None
    if type(sides[0]).__name__ == "SQLData":
        return sides
    on_grids = all(not isinstance(column.distribution, Cuts) for column in old.columns.values())
    return (GridCounter(), sides[1]) if on_grids else None


def _half(progress: Progress | None, index: int) -> Progress | None:
    """Report the progress of two readings as one: the reference is the first half."""
    if progress is None:
        return None
    return lambda done, total: progress(done + index * total, 2 * total)


def _side(
    data: Any,
    asked: Callable[[Iterable[str]], list[str]],
    where: Filter | None,
    categorical: frozenset[str],
    progress: Progress | None,
) -> tuple[DatasetProfile, Source | None]:
    """Profile one side; missing columns are not an error here, they are judged later.

    :param asked: filters column names to those that are compared
    """
    check_filter(where)
    data = load_if_profile(data) or data
    elsewhere = type(data).__name__ in ("SQLData", "SparkRows")
    if isinstance(data, DatasetProfile) or elsewhere or type(data).__module__.startswith("pyspark."):
        if where:
            raise ValueError(
                "a filter needs rows that this process reads; filter in the database or in Spark, or before profiling"
            )
        held = profile(data, asked(data.names() if elsewhere else data.columns), categorical=categorical)
        return (held if held.source else replace(held, source="profile")), None
    source = open_source(data, where=where)
    return profile_source(source, asked(source.columns()), categorical=categorical, progress=progress), source


def _adjust(raw: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Adjust p-values over all columns and tests of the run together; per test, false alarms would be several times as likely."""
    places = [(name, test) for name, held in raw.items() for test in held]
    out: dict[str, dict[str, float]] = {name: {} for name in raw}
    for (name, test), value in zip(places, benjamini_hochberg([raw[name][test] for name, test in places]), strict=True):
        out[name][test] = value
    return out


def _judge(
    name: str,
    state: State | None,
    message: str,
    measures: Measures,
    gates: Gates,
    adjusted: Mapping[str, float],
    alpha: float,
    sides: tuple[ColumnProfile | None, ColumnProfile | None],
    *,
    kind: str,
    role: str,
    weight: float,
) -> ColumnDrift:
    from airflow_slo_provider.drift.verdict.cause_hints import hints_for

    found = findings(measures, gates, adjusted, alpha, enough=state is None)
    if state in (None, State.INSUFFICIENT_DATA, State.SKIPPED):
        worst = next((level for level in (State.DRIFT, State.WARN) if any(item.state is level for item in found)), None)
        # The null rate can be judged without enough values; its drift must not be hidden by "insufficient_data" or "skipped".
        if state is None:
            state = worst or State.OK
        elif worst is State.DRIFT or (worst and state is State.SKIPPED):
            state = worst
    texts = tuple(item.text for item in found)
    return ColumnDrift(
        name=name,
        verdict=state or State.OK,
        message="; ".join(([message] if message else []) + list(texts)) or "no difference that counts",
        reasons=texts,
        kind=kind,
        role=role,
        weight=weight,
        effect=effect(measures, gates),
        adjusted=adjusted,
        hints=hints_for(*sides, measures) if state not in (State.OK, State.SKIPPED) else (),
        **vars(measures),
    )
