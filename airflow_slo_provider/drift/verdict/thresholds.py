"""When a difference counts: thresholds per column, the states a column can end in, and what the user makes of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any


class State(StrEnum):
    """How a column, or a dataset, compares. Only ``ok`` says that no drift was found."""

    OK = "ok"
    WARN = "warn"
    DRIFT = "drift"
    INSUFFICIENT_DATA = "insufficient_data"
    SCHEMA_CHANGE = "schema_change"
    SKIPPED = "skipped"
    ERROR = "error"


#: From worst to best: a dataset is as bad as its worst column that counts.
ORDER = (State.ERROR, State.SCHEMA_CHANGE, State.DRIFT, State.INSUFFICIENT_DATA, State.WARN, State.OK, State.SKIPPED)
ACTIONS = ("fail", "warn", "skip", "pass")
#: What each state means to a pipeline unless the user says otherwise.
DEFAULT_ACTIONS: Mapping[State, str] = {
    State.OK: "pass",
    State.WARN: "warn",
    State.DRIFT: "fail",
    State.INSUFFICIENT_DATA: "warn",
    State.SCHEMA_CHANGE: "fail",
    State.SKIPPED: "skip",
    State.ERROR: "fail",
}


def actions(given: Mapping[str, str] | None) -> dict[State, str]:
    """Fill in what the user left out.

    :param given: state -> ``fail``, ``warn``, ``skip`` or ``pass``
    :raises ValueError: for a state or action that does not exist
    """
    out = dict(DEFAULT_ACTIONS)
    for state, action in (given or {}).items():
        if state not in [item.value for item in State]:
            raise ValueError(f"no state {state!r}; there are {', '.join(State)}")
        if action not in ACTIONS:
            raise ValueError(f"action {action!r} for {state}; there are {', '.join(ACTIONS)}")
        out[State(state)] = action
    return out


@dataclass(frozen=True, kw_only=True)
class Gates:
    """Effects that count. Each also needs significance: its p-value, adjusted over the columns of the run, below alpha.

    A shift of a normal by 0.1 / 0.2 / 0.3 / 0.5 / 1 standard deviations has D = 0.04 / 0.08 / 0.12 / 0.20 / 0.38 and a decile
    PSI of 0.0096 / 0.038 / 0.086 / 0.238 / 0.926. None switches a gate off.

    :param psi: population stability index that is drift [Lewis 1994]
    :param psi_warn: and that is a warning
    :param ks: Kolmogorov-Smirnov D that is drift
    :param ks_warn: and that is a warning
    :param total_variation: for texts and booleans, share of rows that changed their category: what D is for an order
    :param nulls: change of the null rate that is drift
    :param nulls_warn: and that is a warning
    :param nonfinite: rise of the rate of NaN and infinite values that is drift; any where there was none is a warning
    :param new_categories: share of texts the reference does not have, beyond what its own rare texts let expect
    :param new_categories_warn: the same, for a warning
    :param out_of_range: share of values outside the reference's range that is a warning
    """

    psi: float | None = 0.2
    psi_warn: float | None = 0.1
    ks: float | None = 0.1
    ks_warn: float | None = None
    total_variation: float | None = 0.1
    nulls: float | None = 0.05
    nulls_warn: float | None = 0.02
    nonfinite: float | None = 0.01
    new_categories: float | None = 0.05
    new_categories_warn: float | None = 0.01
    out_of_range: float | None = 0.05

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
                raise ValueError(f"gate {item.name} is {value!r}; it must be a number above 0, or None for no gate")
            if value > 1 and not item.name.startswith("psi"):
                raise ValueError(f"gate {item.name} is {value}; it is a share and cannot be reached above 1")
        for name in ("psi", "ks", "nulls", "new_categories"):
            drift, warn = getattr(self, name), getattr(self, f"{name}_warn")
            if drift is not None and warn is not None and warn > drift:
                raise ValueError(f"gate {name}_warn {warn} is above {name} {drift}; a warning comes first")

    def changed(self, values: Mapping[str, Any]) -> Gates:
        """Return these gates with some replaced.

        :raises ValueError: for a gate that does not exist
        """
        known = [item.name for item in fields(self)]
        for name in values:
            if name not in known:
                raise ValueError(f"no gate {name!r}; there are {', '.join(known)}")
        values = dict(values)
        for name in ("psi", "ks", "nulls", "new_categories"):
            # A gate set below the usual warning takes the warning with it, unless that is given too.
            warn = getattr(self, f"{name}_warn")
            given = values.get(name)
            if f"{name}_warn" not in values and warn is not None and isinstance(given, (int, float)) and given < warn:
                values[f"{name}_warn"] = None
        return replace(self, **values)


def read_gates(thresholds: Mapping[str, Any] | Gates | None) -> tuple[Gates, dict[str, Mapping[str, Any]]]:
    """Read thresholds as users write them: gates by name, and columns (or patterns, ``amount_*``) with gates of their own.

    :raises ValueError: for a gate that does not exist or a value that cannot be one
    """
    if thresholds is None:
        return Gates(), {}
    if isinstance(thresholds, Gates):
        return thresholds, {}
    general = {name: value for name, value in thresholds.items() if not isinstance(value, Mapping)}
    columns = {name: value for name, value in thresholds.items() if isinstance(value, Mapping)}
    base = Gates().changed(general)
    for values in columns.values():
        base.changed(values)
    return base, columns


def gates_for(column: str, base: Gates, columns: Mapping[str, Mapping[str, Any]]) -> Gates:
    """Return a column's gates: its own name first, then the first pattern that fits, on top of the general ones."""
    if column in columns:
        return base.changed(columns[column])
    for pattern, values in columns.items():
        if fnmatchcase(column, pattern):
            return base.changed(values)
    return base


def fits(column: str, patterns: tuple[str, ...]) -> bool:
    """Whether a column's name is one of some names and patterns."""
    return any(column == pattern or fnmatchcase(column, pattern) for pattern in patterns)
