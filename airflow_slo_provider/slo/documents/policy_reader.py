"""Read ``ErrorBudgetPolicy`` documents: the actions that follow from the state of an error budget.

An SLO names its policy with the annotation ``airflow-slo/error-budget-policy``. An example with all fields::

    apiVersion: airflow-slo/v1
    kind: ErrorBudgetPolicy
    metadata:
      name: gate-promotion
    spec:
      description: Nothing is promoted on a spent budget.
      warningLevel: 0.25       # below this share of the budget the status is WARNING
      coolDown: 1h             # once it blocks, it blocks for at least this long
      onNoData: block          # block (default), warn or allow
      onError: block           # the same for a server that did not answer
      rules:
        - name: budget-spent
          action: freeze       # allow, alert, reduce_experimentation, degrade, escalate or freeze
          when:
            signal: remainingBudget
            enter: 0           # holds from 0 of the budget down ...
            exit: 0.1          # ... until more than a tenth of it is back
        - name: burns-fast
          action: alert
          when: {signal: burnRate, window: 1h, enter: 14.4, exit: 10}
        - name: soon-spent
          action: escalate
          when: {signal: timeToExhaustion, enter: 2d, exit: 4d}
        - name: dropped
          action: reduce_experimentation
          when: {signal: budgetDrop, window: 1d, enter: 0.2}
        - name: too-little-to-judge
          action: alert
          when: {signal: lowTraffic}
      overrides:
        - action: allow
          until: 2026-12-01T18:00:00+01:00
          reason: The fix for the outage must go out.
          approvedBy: on-call
          slos: [checkout-availability]   # all SLOs of the policy if omitted

``op`` is ``lte`` (``lt`` is possible) for remainingBudget and timeToExhaustion, ``gt`` (``gte``) for burnRate, and ``gte``
(``gt``) for budgetDrop. ``value`` is a synonym of ``enter``. ``exit`` defaults to ``enter``, and must not lie on its harmful
side, because the rule would then start and stop at every evaluation.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

from airflow_slo_provider.documents.durations import Duration
from airflow_slo_provider.documents.fields import Fields
from airflow_slo_provider.slo.documents.indicator_reader import valid
from airflow_slo_provider.slo.documents.metadata import Metadata
from airflow_slo_provider.slo.model import Location
from airflow_slo_provider.slo.policy.error_budget_policy import Action, ErrorBudgetPolicy, OnUnknown, Override, PolicyRule, Signal
from airflow_slo_provider.slo.policy.overrides import expiry_error

API_VERSION = "airflow-slo/v1"
KIND = "ErrorBudgetPolicy"

_ACTIONS = tuple(action.value for action in Action)
_SIGNALS = tuple(signal.value for signal in Signal)
_ANSWERS = tuple(answer.value for answer in OnUnknown)
#: Operators of each signal, the default first. The other operators would hold while the SLO is healthy.
_OPS = {
    Signal.REMAINING_BUDGET: ("lte", "lt"),
    Signal.TIME_TO_EXHAUSTION: ("lte", "lt"),
    Signal.BURN_RATE: ("gt", "gte"),
    Signal.BUDGET_DROP: ("gte", "gt"),
}
#: Signals whose levels are shares of the budget. A level of this many budgets is a percentage by mistake: the rule would hold
#: too late or never.
_SHARES, _MOST_BUDGETS = (Signal.REMAINING_BUDGET, Signal.BUDGET_DROP), 2
_WINDOWED = (Signal.BURN_RATE, Signal.BUDGET_DROP)
_LEVEL_KEYS = ("op", "enter", "value", "exit", "window")


def read_policy(document: Fields, metadata: Metadata) -> ErrorBudgetPolicy | None:
    """Read the ``spec`` of an ErrorBudgetPolicy; None if it has too many errors to build one."""
    before = len(document.scope.findings.errors)
    spec = document.sub("spec", required=True)
    if spec is None:
        return None
    description = spec.text("description") or ""
    warning_level = _read_share(spec, "warningLevel", Fraction(1, 4))
    cool_down = spec.duration("coolDown", fixed=True)
    on_no_data, on_error = (OnUnknown(spec.choice(key, _ANSWERS) or "block") for key in ("onNoData", "onError"))
    rules = valid(_read_rule(item) for item in spec.subs("rules", required=True) or ())
    names = [rule.name for rule in rules]
    for name in sorted({name for name in names if names.count(name) > 1}):
        spec.error("rules", f"two rules are named {name!r}; the rules that held before are identified by name")
    overrides = valid(_read_override(item) for item in spec.subs("overrides") or ())
    spec.close()
    if metadata.name is None or len(document.scope.findings.errors) > before:
        return None
    return ErrorBudgetPolicy(
        metadata.name,
        rules,
        warning_level,
        cool_down.timedelta if cool_down is not None else timedelta(0),
        on_no_data,
        on_error,
        overrides,
        description,
        Location(document.scope.file, document.mapping.line),
    )


def _read_rule(fields: Fields) -> PolicyRule | None:
    name = fields.text("name", required=True)
    action = fields.choice("action", _ACTIONS, required=True)
    when = fields.sub("when", required=True)
    fields.close()
    if when is None:
        return None
    word = when.choice("signal", _SIGNALS, required=True)
    if word is None:
        when.allow(*_LEVEL_KEYS)
        when.close()
        return None
    signal = Signal(word)
    op, enter, leave, window = _read_levels(when, signal) if signal in _OPS else _refuse_levels(when, signal)
    when.close()
    if name is None or action is None:
        return None
    return PolicyRule(name, Action(action), signal, op, enter, leave, window)


_Levels = tuple[str | None, Fraction | None, Fraction | None, Duration | None]


def _refuse_levels(when: Fields, signal: Signal) -> _Levels:
    when.allow(*_LEVEL_KEYS)
    for key in _LEVEL_KEYS:
        if key in when:
            when.error(key, f"has no meaning for {signal.value}, which has no levels")
    return None, None, None, None


def _read_levels(when: Fields, signal: Signal) -> _Levels:
    op = _read_op(when, signal)
    window = when.duration("window", required=signal in _WINDOWED, fixed=True)
    if window is not None and signal not in _WINDOWED:
        when.error("window", f"has no meaning for {signal.value}; it belongs to burnRate and budgetDrop")
    if "enter" in when and "value" in when:
        when.error("value", "is another name for enter; write one of them")
    key = "value" if "value" in when and "enter" not in when else "enter"
    enter, leave = _read_level(when, key, signal, required=True), _read_level(when, "exit", signal)
    when.allow("enter", "value")
    if enter is not None:
        _check_enter(when, key, signal, op, enter)
    if enter is not None and leave is not None:
        _check_exit(when, key, signal, op, enter, leave)
    return op, enter, enter if leave is None else leave, window


def _read_op(when: Fields, signal: Signal) -> str:
    options = _OPS[signal]
    op = when.choice("op", ("lt", "lte", "gt", "gte"))
    if op is not None and op not in options:
        when.error("op", f"must be {' or '.join(options)} for {signal.value}: {op} would hold while the SLO is healthy")
    return op or options[0]


def _read_level(when: Fields, key: str, signal: Signal, *, required: bool = False) -> Fraction | None:
    """Read a level as an exact number; for timeToExhaustion a duration, in seconds."""
    if signal is not Signal.TIME_TO_EXHAUSTION:
        return when.number(key, required=required)
    length = when.duration(key, required=required, fixed=True)
    return Fraction(length.seconds) if length is not None else None


def _check_enter(when: Fields, key: str, signal: Signal, op: str, level: Fraction) -> None:
    """Refuse a level at which the rule would always hold."""
    if signal is Signal.REMAINING_BUDGET and (level > 1 or (level == 1 and op == "lte")):
        when.error(key, "always holds: at most the whole budget, 1, is left; a tenth of the budget is 0.1, not 10")
    elif signal in _SHARES and abs(level) >= _MOST_BUDGETS:
        when.error(key, f"is {float(abs(level)):g} whole budgets: a share is expected; a tenth of the budget is 0.1, not 10")
    elif signal in _WINDOWED and (level < 0 or (level == 0 and op == "gte")):
        when.error(key, f"always holds: write a {signal.value} above 0")


def _check_exit(when: Fields, key: str, signal: Signal, op: str, enter: Fraction, leave: Fraction) -> None:
    falls = op in ("lt", "lte")
    if (leave < enter) if falls else (leave > enter):
        side = "above" if falls else "below"
        when.error("exit", f"must be {key} or lie {side} it; otherwise the rule would start and stop at every evaluation")
    elif signal is Signal.REMAINING_BUDGET and (leave > 1 or (leave == 1 and op == "lte")):
        when.error("exit", "is never reached: at most the whole budget, 1, is left")
    elif signal in _WINDOWED and (leave < 0 or (leave == 0 and op == "gte")):
        what = "burn rate" if signal is Signal.BURN_RATE else "budget drop"
        when.error("exit", f"is never reached: a {what} is never below 0")


def _read_share(spec: Fields, key: str, default: Fraction) -> Fraction:
    value = spec.number(key)
    if value is None:
        return default
    if not 0 <= value <= 1:
        spec.error(key, "must be a share of the budget between 0 and 1, e.g. 0.25")
    return value


def _read_override(fields: Fields) -> Override | None:
    action = fields.choice("action", _ACTIONS, required=True)
    until = _read_until(fields)
    reason = fields.text("reason", required=True)
    approved_by = fields.text("approvedBy") or ""
    slos = fields.texts("slos")
    if "slos" in fields and not slos:
        fields.error("slos", "is empty; name SLOs, or remove it for all that use the policy")
    fields.close()
    if action is None or until is None or reason is None:
        return None
    return Override(Action(action), until, reason.strip(), approved_by, slos)


def _read_until(fields: Fields) -> datetime | None:
    text = fields.text("until", required=True)
    if text is None:
        return None
    try:
        until = datetime.fromisoformat(text.strip())
    except ValueError:
        fields.error("until", f"{text!r} is not a time such as 2026-12-01T18:00:00+01:00")
        return None
    if until.tzinfo is None:
        fields.error("until", f"{text!r} has no time zone; write e.g. {text.strip()}Z, or +01:00 after the time")
        return None
    if problem := expiry_error(until, datetime.now(UTC)):
        fields.error("until", problem)
        return None
    return until
