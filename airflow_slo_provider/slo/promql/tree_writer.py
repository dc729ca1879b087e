"""Write a syntax tree as PromQL."""

from __future__ import annotations

import re
from datetime import timedelta

from airflow_slo_provider.slo.promql.syntax_tree import (
    WINDOW,
    WINDOW_TEXT,
    Aggregation,
    Binary,
    Call,
    Negation,
    Node,
    Number,
    Series,
    String,
    Subquery,
)
from airflow_slo_provider.slo.promql.text import duration_text, quote

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def write(node: Node) -> str:
    """Write an expression; the range :data:`WINDOW` becomes ``{{.window}}``.

    :param node: the expression
    :raises ValueError: for matchers that are joined by ``or``, which Prometheus does not read
    """
    return _write(node).replace(WINDOW_TEXT, "{{.window}}")


def _write(node: Node) -> str:
    match node:
        case Number():
            return _number(node.value)
        case String():
            return quote(node.value)
        case Series():
            return _series(node)
        case Subquery():
            step = "" if node.step is None else _duration(node.step)
            return f"{_operand(node.inner)}[{_duration(node.range)}:{step}]{_modifiers(node)}"
        case Call():
            return f"{node.function}({', '.join(map(_write, node.arguments))})"
        case Aggregation():
            grouping = f" {_labels(node.grouping, node.labels)} " if node.grouping else ""
            arguments = ", ".join(_write(item) for item in (node.parameter, node.inner) if item is not None)
            return f"{node.operator}{grouping}({arguments})"
        case Binary():
            return f"{_operand(node.left)} {_operator(node)} {_operand(node.right)}"
        case Negation():
            return f"-{_operand(node.inner)}"


def _operand(node: Node) -> str:
    """Write an operand, in brackets if it is an operation itself."""
    text = _write(node)
    return f"({text})" if isinstance(node, Binary | Negation) or text.startswith("-") else text


def _operator(node: Binary) -> str:
    parts = [node.operator, "bool" if node.returns_bool else "", _labels(node.matching, node.labels)]
    if node.grouping:
        parts.append(_labels(node.grouping, node.group_labels))
    if node.fills is not None:
        sides = zip(("left", "right"), node.fills, strict=True)
        parts += [f"fill_{side}({_number(value)})" for side, value in sides if value is not None]
    return " ".join(filter(None, parts))


def _labels(word: str, labels: tuple[str, ...]) -> str:
    return f"{word} ({', '.join(map(_label, labels))})" if word else ""


def _label(name: str) -> str:
    return name if _LABEL_NAME.fullmatch(name) else quote(name)


def _series(node: Series) -> str:
    if node.has_alternatives:
        raise ValueError("matchers that are joined by `or` are not PromQL")
    plain = _METRIC_NAME.fullmatch(node.name) is not None
    matchers = [] if plain or not node.name else [f"__name__={quote(node.name)}"]
    matchers += [f"{_label(label)}{operator}{quote(value)}" for label, operator, value in node.matchers]
    braces = f"{{{','.join(matchers)}}}" if matchers or not node.name else ""
    span = "" if node.range is None else f"[{_duration(node.range)}]"
    return f"{node.name if plain else ''}{braces}{span}{_modifiers(node)}"


def _modifiers(node: Series | Subquery) -> str:
    at = f" @ {node.at}" if node.at else ""
    if not node.offset:
        return at
    sign = "-" if node.offset < timedelta(0) else ""
    return f"{at} offset {sign}{_duration(abs(node.offset))}"


def _duration(length: timedelta) -> str:
    return WINDOW_TEXT if length == WINDOW else duration_text(length)


def _number(value: float) -> str:
    return repr(value).removesuffix(".0").replace("inf", "Inf").replace("nan", "NaN")
