"""Parse YAML into a tree that keeps line numbers and numbers as written.

PyYAML's own loader turns ``0.999`` into a float and silently drops a repeated key. This module uses its safe event parser (no
Python objects, no recursion) and builds the tree from the events: duplicate keys are errors, aliases share one node, and an
alias bomb or endless nesting is refused before it exhausts memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import yaml

from airflow_slo_provider.exceptions import DocumentError, Fault

MAX_DEPTH = 60
#: Maximum number of nodes of one document after aliases are expanded.
MAX_NODES = 100_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {None, *(_TAG + name for name in ("bool", "float", "int", "map", "null", "seq", "timestamp"))}
_TEXT_TAGS = {"!", _TAG + "str"}
_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# At most three exponent digits: 1e999999999 would be a number of a billion digits. No octal, no 1_000, no 1:30.
_NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{0,60})?|\.[0-9]{1,60})(?:[eE][-+]?[0-9]{1,3})?")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,30})")


@dataclass(frozen=True)
class ScalarNode:
    """A scalar value.

    :param text: as written, without quotes
    :param plain: whether it was written without quotes, so that it may be a number, true, false or null
    :param line: 1-based line
    :param weight: number of nodes after aliases are expanded
    """

    text: str
    plain: bool
    line: int
    weight: int = 1

    kind = "a single value"

    @property
    def is_null(self) -> bool:
        """Whether the value is empty, ``~`` or ``null``."""
        return self.plain and self.text in _NULLS

    @property
    def number(self) -> Fraction | None:
        """The exact number; None if the value is not a finite number."""
        if not self.plain or _NUMBER.fullmatch(self.text) is None:
            return None
        return Fraction(Decimal(self.text))

    @property
    def boolean(self) -> bool | None:
        """True or False as YAML 1.2 writes them; otherwise None."""
        return _BOOLEANS.get(self.text) if self.plain else None


@dataclass(frozen=True)
class SequenceNode:
    """A list of nodes."""

    items: tuple[Node, ...]
    line: int
    weight: int = 1

    kind = "a list"
    is_null = False


@dataclass(frozen=True)
class MappingNode:
    """A mapping with the line of each key."""

    entries: Mapping[str, MappingEntry]
    line: int
    weight: int = 1

    kind = "a mapping"
    is_null = False


Node = ScalarNode | SequenceNode | MappingNode


@dataclass(frozen=True)
class MappingEntry:
    """A value of a mapping, with the line of its key."""

    line: int
    node: Node


def compose(text: str, *, file: str = "<text>") -> tuple[list[Node], list[Fault]]:
    """Parse every YAML document of a text. Empty documents are left out.

    :param text: the text
    :param file: file name for error messages
    :return: the documents, and the errors found; parsing stops at a syntax error
    """
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.add_event(event)
    except DocumentError as refused:
        builder.errors.extend(refused.faults)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(str(part) for part in (error.context, error.problem) if part)
        builder.error(mark.line + 1 if mark else 1, f"not YAML: {problem}")
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 1
        builder.error(line, f"not YAML: {getattr(error, 'reason', error)}")
    return builder.documents, builder.errors


def plain_value(node: Node) -> Any:
    """Convert a node to plain Python: dict, list, str, int, float, bool or None."""
    if isinstance(node, MappingNode):
        return {key: plain_value(entry.node) for key, entry in node.entries.items()}
    if isinstance(node, SequenceNode):
        return [plain_value(item) for item in node.items]
    if node.is_null:
        return None
    if node.boolean is not None:
        return node.boolean
    if node.plain and _INTEGER.fullmatch(node.text):
        return int(node.text)
    if node.number is not None and abs(node.number) < 10**300:
        return float(node.number)
    return node.text


@dataclass
class _OpenNode:
    """A list or mapping that is not closed yet."""

    is_mapping: bool
    anchor: str | None
    line: int
    nodes: list[Node] = field(default_factory=list)
    weight: int = 1


class _Builder:
    """Builds nodes from parser events, without recursion."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.documents: list[Node] = []
        self.errors: list[Fault] = []
        self._open: list[_OpenNode] = []
        self._anchors: dict[str, Node] = {}

    def error(self, line: int, message: str) -> None:
        self.errors.append(Fault(message, file=self.file, line=line))

    def add_event(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._anchors = {}
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._resolve_alias(event))
        elif isinstance(event, yaml.ScalarEvent):
            self._check_tag(event)
            plain = not event.style and event.tag not in _TEXT_TAGS
            self._add_anchored(event.anchor, ScalarNode(event.value, plain, _line(event)))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._check_tag(event)
            if len(self._open) >= MAX_DEPTH:
                raise DocumentError([Fault(f"nested deeper than {MAX_DEPTH} levels", file=self.file, line=_line(event))])
            self._open.append(_OpenNode(isinstance(event, yaml.MappingStartEvent), event.anchor, _line(event)))
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = self._open.pop()
            is_mapping = closed.is_mapping
            node = self._build_mapping(closed) if is_mapping else SequenceNode(tuple(closed.nodes), closed.line, closed.weight)
            self._add_anchored(closed.anchor, node)

    def _add_anchored(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._add(node)

    def _add(self, node: Node) -> None:
        if not self._open:
            if not node.is_null:
                self.documents.append(node)
            return
        parent = self._open[-1]
        parent.nodes.append(node)
        parent.weight += node.weight
        if parent.weight > MAX_NODES:
            message = f"more than {MAX_NODES} values after its aliases are expanded"
            raise DocumentError([Fault(message, file=self.file, line=parent.line)])

    def _resolve_alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            self.error(_line(event), f"alias *{event.anchor} has no finished anchor &{event.anchor} before it")
            return ScalarNode("", True, _line(event))
        return node

    def _check_tag(self, event: Any) -> None:
        if event.tag not in _PLAIN_TAGS and event.tag not in _TEXT_TAGS:
            self.error(_line(event), f"the YAML tag {event.tag} has no meaning here; remove it")

    def _build_mapping(self, closed: _OpenNode) -> MappingNode:
        entries: dict[str, MappingEntry] = {}
        merged: list[Node] = []
        for key, value in zip(closed.nodes[::2], closed.nodes[1::2], strict=True):
            if not isinstance(key, ScalarNode):
                self.error(key.line, f"a key must be a single value, not {key.kind}")
            elif key.plain and key.text == "<<":
                merged.extend(value.items if isinstance(value, SequenceNode) else (value,))
            elif key.text in entries:
                self.error(key.line, f"{key.text!r} occurs twice in this mapping; the first is on line {entries[key.text].line}")
            else:
                entries[key.text] = MappingEntry(key.line, value)
        for source in merged:
            if isinstance(source, MappingNode):
                for name, entry in source.entries.items():
                    entries.setdefault(name, entry)
            else:
                self.error(source.line, f"<< merges mappings, not {source.kind}")
        return MappingNode(entries, closed.line, closed.weight)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
