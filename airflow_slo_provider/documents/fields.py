"""Reading the fields of a YAML mapping by name and kind, and collecting everything that is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from airflow_slo_provider.documents.durations import Duration, parse_duration
from airflow_slo_provider.documents.nodes import MappingNode, Node, ScalarNode, SequenceNode
from airflow_slo_provider.exceptions import Fault

#: A hundred years: longer is a slip of the pen, and would overflow timedelta further on.
_MAX_SECONDS, _MAX_MONTHS = 36525 * 86400, 1200
#: Beyond these a comparison takes longer than it helps; there are some 600 time zones.
_MAX_KNOWN, _MAX_WORD = 700, 100
_MAX_MESSAGE, _MAX_LABEL = 600, 150


@dataclass
class Findings:
    """What is wrong (``faults``) and what is doubtful (``warnings``) in a set of documents."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)


@dataclass(frozen=True)
class Scope:
    """The document that is being read.

    :param document: what to call it, e.g. ``SLO/checkout``
    :param file: the file it stands in
    :param findings: where faults and warnings go
    """

    document: str
    file: str
    findings: Findings

    def fault(self, message: str, path: str, line: int) -> None:
        """Note something that makes the document unusable."""
        self.findings.faults.append(self._fault(message, path, line))

    def warn(self, message: str, path: str, line: int) -> None:
        """Note something doubtful."""
        self.findings.warnings.append(self._fault(message, path, line))

    def _fault(self, message: str, path: str, line: int) -> Fault:
        # Messages quote the document, where a value may be as long as the file.
        label, where = shortened(self.document, _MAX_LABEL), shortened(path, _MAX_MESSAGE)
        return Fault(shortened(message, _MAX_MESSAGE), where, label, self.file, line)


def shortened(text: str, limit: int) -> str:
    """The beginning and the end of a text that is longer than ``limit``."""
    return text if len(text) <= limit else f"{text[: limit - 103]}...{text[-100:]}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest known word, or nothing."""
    by_lower = {name.lower(): name for name in known}
    if len(by_lower) > _MAX_KNOWN or len(word) > _MAX_WORD:
        return ""
    close = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.6)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


class Fields:
    """The fields of one mapping. Asking for a field makes it known; :meth:`close` reports the unknown ones.

    A field that is null counts as absent. Each method notes a fault and returns None where the field is not what it
    should be, so that one reading finds every fault.

    :param node: the mapping
    :param scope: the document it belongs to
    :param path: where it stands in the document
    """

    def __init__(self, node: MappingNode, scope: Scope, path: str = "") -> None:
        self.mapping, self.scope, self.path = node, scope, path
        self._known: dict[str, None] = {}

    def __contains__(self, key: str) -> bool:
        entry = self.mapping.entries.get(key)
        return entry is not None and not entry.node.is_null

    def keys(self) -> list[str]:
        """All keys as written."""
        return list(self.mapping.entries)

    def path_of(self, key: str) -> str:
        """Path of a field within the document."""
        return f"{self.path}.{key}" if self.path else key

    def line_of(self, key: str) -> int:
        """Line of a field, or of the mapping where the field is absent."""
        entry = self.mapping.entries.get(key)
        return entry.line if entry else self.mapping.line

    def fault(self, key: str, message: str) -> None:
        """Note a fault of a field."""
        self.scope.fault(message, self.path_of(key), self.line_of(key))

    def warn(self, key: str, message: str) -> None:
        """Note a doubt about a field."""
        self.scope.warn(message, self.path_of(key), self.line_of(key))

    def allow(self, *keys: str) -> None:
        """Make fields known without reading them."""
        self._known.update(dict.fromkeys(keys))

    def node(self, key: str, *, required: bool = False) -> Node | None:
        """The value of a field as it stands."""
        self.allow(key)
        if key in self:
            return self.mapping.entries[key].node
        if required:
            self.fault(key, "is required" if key not in self.mapping.entries else "is required, and it is empty")
        return None

    def text(self, key: str, *, required: bool = False) -> str | None:
        """A text; never empty."""
        node = self.node(key, required=required)
        if node is None:
            return None
        if not isinstance(node, ScalarNode):
            self.fault(key, f"must be text, not {node.kind}")
            return None
        if not node.text.strip():
            if required:
                self.fault(key, "is required, and it is empty")
            return None
        return node.text

    def choice(self, key: str, options: Sequence[str], *, required: bool = False) -> str | None:
        """One of the words in ``options``."""
        word = self.text(key, required=required)
        if word is None or word in options:
            return word
        self.fault(key, f"{word!r} is none of {', '.join(options)}{did_you_mean(word, options)}")
        return None

    def number(self, key: str, *, required: bool = False) -> Fraction | None:
        """A finite number, exactly as written."""
        node = self.node(key, required=required)
        if node is None:
            return None
        value = node.number if isinstance(node, ScalarNode) else None
        if value is None:
            self.fault(key, f"must be a finite decimal number such as 0.999, not {_shown(node)}")
        return value

    def boolean(self, key: str) -> bool | None:
        """``true`` or ``false``."""
        node = self.node(key)
        if node is None:
            return None
        value = node.boolean if isinstance(node, ScalarNode) else None
        if value is None:
            self.fault(key, f"must be true or false, not {_shown(node)}")
        return value

    def duration(self, key: str, *, required: bool = False, fixed: bool = False) -> Duration | None:
        """A duration such as ``30d``; with ``fixed``, of a length that does not depend on the calendar."""
        word = self.text(key, required=required)
        if word is None:
            return None
        try:
            length = parse_duration(word)
        except ValueError as error:
            self.fault(key, str(error))
            return None
        if length.seconds > _MAX_SECONDS or length.months > _MAX_MONTHS:
            self.fault(key, f"{word} is longer than a hundred years")
            return None
        if fixed and length.is_calendar:
            self.fault(key, f"{word} has no fixed length; write days or less, e.g. {30 * length.months}d")
            return None
        return length

    def sub(self, key: str, *, required: bool = False) -> Fields | None:
        """A mapping within this one."""
        node = self.node(key, required=required)
        if node is None:
            return None
        if not isinstance(node, MappingNode):
            self.fault(key, f"must be a mapping, not {node.kind}")
            return None
        return Fields(node, self.scope, self.path_of(key))

    def nodes(self, key: str, *, required: bool = False) -> list[tuple[str, Node]] | None:
        """The items of a list with their paths; None where there is no list."""
        node = self.node(key, required=required)
        if node is None:
            return None
        if not isinstance(node, SequenceNode):
            self.fault(key, f"must be a list, not {node.kind}")
            return None
        return [(f"{self.path_of(key)}[{number}]", item) for number, item in enumerate(node.items)]

    def subs(self, key: str, *, required: bool = False) -> list[Fields] | None:
        """The mappings of a list; None where there is no list."""
        items = self.nodes(key, required=required)
        if items is None:
            return None
        if required and not items:
            self.fault(key, "is required, and it is empty")
        found = []
        for path, item in items:
            if isinstance(item, MappingNode):
                found.append(Fields(item, self.scope, path))
            else:
                self.scope.fault(f"must be a mapping, not {item.kind}", path, item.line)
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        """The texts of a list."""
        found = []
        for path, item in self.nodes(key) or ():
            if isinstance(item, ScalarNode) and item.text.strip():
                found.append(item.text)
            else:
                self.scope.fault("must be text, and not empty", path, item.line)
        return tuple(found)

    def close(self) -> None:
        """Report every field that nobody asked for."""
        for key, entry in self.mapping.entries.items():
            if key not in self._known:
                hint = did_you_mean(key, self._known) or f"; known here: {', '.join(self._known) or 'nothing'}"
                self.scope.fault(f"unknown field{hint}", self.path_of(key), entry.line)


def _shown(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        return node.kind
    text = node.text if len(node.text) <= 60 else node.text[:57] + "..."
    return repr(text) if node.plain else f"the quoted text {text!r}"
