"""The mutants of a Python file: copies that differ from it in one place.

Comparisons, arithmetic, ``and``, ``or``, ``not``, conditions and constants are changed; returned values, raised errors and calls
for their effect are left out. Texts with a space are for people and stay: a test that repeats a message proves nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

PAIRS: list[tuple[type, type]] = [
    *[(ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn)],
    *[(ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.FloorDiv, ast.Mod), (ast.BitOr, ast.BitAnd), (ast.And, ast.Or)],
]
SWAP = dict(PAIRS) | {second: first for first, second in PAIRS}
TYPES = re.compile(r"[A-Z]\w*( \| [A-Z]\w*)+")
# Not changed: annotations, decorators, matched types, the texts of errors, and checks that never fail.
FIELDS_LEFT = {"annotation", "returns", "decorator_list", "pattern", "exc"}
NODES_LEFT = (ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr)


class Mutant(NamedTuple):
    """One change; ``lines`` are those of the statement, None if it runs when the module is imported."""

    path: str
    line: int
    lines: range | None
    diff: str
    source: str


def mutants(path: str) -> Iterator[Mutant]:
    source = Path(path).read_text(encoding="utf-8")
    text = source.encode().splitlines(keepends=True)
    for node, new, lines in changes(ast.parse(source), None):
        start, end = node.lineno - 1, node.end_lineno - 1
        changed = text[start][: node.col_offset] + new.encode() + text[end][node.end_col_offset :]
        diff = "".join(f"- {line.decode()}" for line in text[start : end + 1]) + f"+ {changed.decode()}"
        yield Mutant(path, start + 1, lines, diff, b"".join([*text[:start], changed, *text[end + 1 :]]).decode())


def changes(node: Any, lines: range | None, in_function: bool = False) -> Iterator[tuple[Any, str, range | None]]:
    """Yield every node to replace, with its new text and the lines of its statement."""
    if isinstance(node, NODES_LEFT) or getattr(node, "arg", "") == "strict":
        return
    if "TYPE_CHECKING" in ast.unparse(getattr(node, "test", [])):
        return
    if isinstance(node, ast.stmt) and in_function:
        inner = [part for part in ast.walk(node) if isinstance(part, ast.stmt | ast.pattern) and part is not node]
        lines = range(node.lineno, max(node.lineno + 1, min([part.lineno for part in inner], default=(node.end_lineno or 0) + 1)))
    yield from ((node, new, lines) for new in replacements(node))
    for name, value in ast.iter_fields(node):
        inside = in_function or (name == "body" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and name not in FIELDS_LEFT:
                yield from changes(child, lines, inside)
            if name in ("test", "ifs") and isinstance(child, ast.Call | ast.Name | ast.Attribute | ast.NamedExpr):
                yield child, f"(not ({ast.unparse(child)}))", lines


def replacements(node: Any) -> Iterator[str]:
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                ops = [*node.ops[:index], SWAP[type(operator)](), *node.ops[index + 1 :]]
                yield ast.unparse(ast.Compare(node.left, ops, node.comparators))
        case ast.BinOp() if type(node.op) in SWAP and not TYPES.fullmatch(ast.unparse(node)):
            yield f"({ast.unparse(ast.BinOp(node.left, SWAP[type(node.op)](), node.right))})"
        case ast.BoolOp():
            yield f"({ast.unparse(ast.BoolOp(SWAP[type(node.op)](), node.values))})"
        case ast.AugAssign() if type(node.op) in SWAP:
            yield ast.unparse(ast.AugAssign(node.target, SWAP[type(node.op)](), node.value))
        case ast.UnaryOp(op=ast.Not()):
            yield f"({ast.unparse(node.operand)})"
        case ast.Constant(value=bool()):
            yield str(not node.value)
        case ast.Constant(value=int() | float()):
            yield str(node.value + 1)
        case ast.Constant(value=str()) if not re.search(r"\s", node.value):  # a space: a text for people
            yield repr("XX" + node.value)
        case ast.Return() if not isinstance(node.value, ast.Constant | None):  # a constant is changed itself
            yield "return None"
        case ast.Raise() | ast.Continue() | ast.Break() | ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()):
            yield "pass"
