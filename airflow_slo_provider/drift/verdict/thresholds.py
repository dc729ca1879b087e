"""Drift thresholds per column, drift states, and the action for each state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any


class DriftState(StrEnum):
    """State of a column or a dataset after a comparison. Only ``ok`` means that no drift was found."""

    OK = "ok"
    WARN = "warn"
    DRIFT = "drift"
    INSUFFICIENT_DATA = "insufficient_data"
    SCHEMA_CHANGE = "schema_change"
    SKIPPED = "skipped"
    ERROR = "error"


#: From worst to best: a dataset has the state of its worst column that counts.
ORDER = (
    DriftState.ERROR,
    DriftState.SCHEMA_CHANGE,
    DriftState.DRIFT,
    DriftState.INSUFFICIENT_DATA,
    DriftState.WARN,
    DriftState.OK,
    DriftState.SKIPPED,
)
#: Gates that have a warning level.
_WITH_WARNING = ("psi", "ks", "nulls", "new_categories")
ACTIONS = ("fail", "warn", "skip", "pass")
#: Default action for each state.
DEFAULT_ACTIONS: Mapping[DriftState, str] = {
    DriftState.OK: "pass",
    DriftState.WARN: "warn",
    DriftState.DRIFT: "fail",
    DriftState.INSUFFICIENT_DATA: "warn",
    DriftState.SCHEMA_CHANGE: "fail",
    DriftState.SKIPPED: "skip",
    DriftState.ERROR: "fail",
}


def actions(chosen: Mapping[str, str] | None) -> dict[DriftState, str]:
    """Complete the user's actions with the defaults.

    :param chosen: state -> ``fail``, ``warn``, ``skip`` or ``pass``; None for the defaults alone
    :return: the action for every state
    :raises ValueError: for an unknown state or action
    """
    out = dict(DEFAULT_ACTIONS)
    for state, action in (chosen or {}).items():
        if state not in list(DriftState):
            raise ValueError(f"no state {state!r}; there are {', '.join(DriftState)}")
        if action not in ACTIONS:
            raise ValueError(f"action {action!r} for {state}; there are {', '.join(ACTIONS)}")
        out[DriftState(state)] = action
    return out


@dataclass(frozen=True, kw_only=True)
class Gates:
    """Effect sizes at which a column drifts or warns.

    A gate is reached only if the p-value, adjusted over the columns of the run, is also below alpha. None disables a gate.
    A shift of a normal by 0.1 / 0.2 / 0.3 / 0.5 / 1 standard deviations has D = 0.04 / 0.08 / 0.12 / 0.20 / 0.38 and a decile
    PSI of 0.0096 / 0.038 / 0.086 / 0.238 / 0.926.

    :param psi: population stability index for drift [Lewis 1994]
    :param psi_warn: population stability index for a warning
    :param ks: Kolmogorov-Smirnov D for drift
    :param ks_warn: Kolmogorov-Smirnov D for a warning
    :param total_variation: share of rows that changed their category, for drift; the counterpart of D for texts and booleans
    :param nulls: change of the null rate, in either direction, for drift
    :param nulls_warn: change of the null rate for a warning
    :param nonfinite: change of the rate of NaN and infinite values for drift; any such value is a warning if the reference has
        none
    :param new_categories: share of texts that the reference does not have, for drift; the share expected from the reference's
        rare texts is subtracted
    :param new_categories_warn: the same share, for a warning
    :param out_of_range: share of values outside the reference's range, for a warning
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
        for name in _WITH_WARNING:
            drift, warn = getattr(self, name), getattr(self, f"{name}_warn")
            if drift is not None and warn is not None and warn > drift:
                raise ValueError(f"gate {name}_warn {warn} is above {name} {drift}; a warning comes first")

    def override(self, values: Mapping[str, Any]) -> Gates:
        """Return a copy with some gates replaced.

        :param values: gate name -> value, None to disable it
        :raises ValueError: for an unknown gate or an invalid value
        """
        known = [item.name for item in fields(self)]
        for name in values:
            if name not in known:
                raise ValueError(f"no gate {name!r}; there are {', '.join(known)}")
        values = dict(values)
        for name in _WITH_WARNING:
            # A gate set below its default warning level disables that warning, unless a warning level is set too.
            drift, warn = values.get(name), getattr(self, f"{name}_warn")
            if f"{name}_warn" not in values and warn is not None and isinstance(drift, (int, float)) and drift < warn:
                values[f"{name}_warn"] = None
        return replace(self, **values)


def read_gates(thresholds: Mapping[str, Any] | Gates | None) -> tuple[Gates, dict[str, Mapping[str, Any]]]:
    """Read thresholds: gates by name, and mappings of gates by column name or pattern (``amount_*``).

    :param thresholds: as the user wrote them; None for the defaults
    :return: the general gates, and the gates of columns and patterns
    :raises ValueError: for an unknown gate or an invalid value
    """
    if isinstance(thresholds, Gates):
        return thresholds, {}
    thresholds = thresholds or {}
    columns = {name: value for name, value in thresholds.items() if isinstance(value, Mapping)}
    base = Gates().override({name: value for name, value in thresholds.items() if name not in columns})
    for values in columns.values():
        base.override(values)
    return base, columns


def gates_for(column: str, base: Gates, columns: Mapping[str, Mapping[str, Any]]) -> Gates:
    """Return a column's gates: those of its name, else of the first matching pattern, on top of the general gates."""
    by_pattern = next((values for pattern, values in columns.items() if fnmatchcase(column, pattern)), {})
    return base.override(columns.get(column, by_pattern))


def matches_any(column: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a column's name equals or matches any of some names and patterns."""
    return any(column == pattern or fnmatchcase(column, pattern) for pattern in patterns)
