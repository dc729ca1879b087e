"""Read the fields of a YAML mapping by name and type, and collect all errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from airflow_slo_provider.documents.durations import Duration, parse_duration
from airflow_slo_provider.documents.nodes import MappingNode, Node, ScalarNode, SequenceNode
from airflow_slo_provider.exceptions import Fault

#: 100 years: a longer duration is a mistake, and would overflow timedelta later.
_MAX_SECONDS, _MAX_MONTHS = 36525 * 86400, 1200
#: Limits of the spelling suggestions, beyond which they are too slow; there are about 600 time zones.
_MAX_KNOWN, _MAX_WORD = 700, 100
_MAX_MESSAGE, _MAX_LABEL = 600, 150


@dataclass
class Findings:
    """The errors (``faults``) and warnings (``warnings``) of a set of documents."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)


@dataclass(frozen=True)
class Scope:
    """The document that is being read.

    :param document: kind and name of the document, e.g. ``SLO/checkout``
    :param file: the file that contains it
    :param findings: collects the errors and warnings
    """

    document: str
    file: str
    findings: Findings

    def fault(self, message: str, path: str, line: int) -> None:
        """Record an error that makes the document unusable."""
        self.findings.faults.append(self._fault(message, path, line))

    def warn(self, message: str, path: str, line: int) -> None:
        """Record a warning."""
        self.findings.warnings.append(self._fault(message, path, line))

    def _fault(self, message: str, path: str, line: int) -> Fault:
        # Messages quote the document, and a value in it may be as long as the file.
        label, where = shortened(self.document, _MAX_LABEL), shortened(path, _MAX_MESSAGE)
        return Fault(shortened(message, _MAX_MESSAGE), where, label, self.file, line)


def shortened(text: str, limit: int) -> str:
    """Shorten a text that is longer than ``limit`` to its beginning and its end."""
    return text if len(text) <= limit else f"{text[: limit - 103]}...{text[-100:]}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest known word, or an empty text."""
    by_lower = {name.lower(): name for name in known}
    if len(by_lower) > _MAX_KNOWN or len(word) > _MAX_WORD:
        return ""
    close = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.6)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


class Fields:
    """The fields of one mapping. Reading a field makes it known; :meth:`close` reports the unknown fields.

    A null field counts as absent. Each method records an error and returns None if the field is invalid, so that one pass finds
    every error.

    :param node: the mapping
    :param scope: the document that contains it
    :param path: path of the mapping within the document
    """

    def __init__(self, node: MappingNode, scope: Scope, path: str = "") -> None:
        self.mapping, self.scope, self.path = node, scope, path
        self._known: dict[str, None] = {}

    def __contains__(self, key: str) -> bool:
        entry = self.mapping.entries.get(key)
        return entry is not None and not entry.node.is_null

    def keys(self) -> list[str]:
        """Return all keys as written."""
        return list(self.mapping.entries)

    def path_of(self, key: str) -> str:
        """Return the path of a field within the document."""
        return f"{self.path}.{key}" if self.path else key

    def line_of(self, key: str) -> int:
        """Return the line of a field; the line of the mapping if the field is absent."""
        entry = self.mapping.entries.get(key)
        return entry.line if entry else self.mapping.line

    def fault(self, key: str, message: str) -> None:
        """Record an error in a field."""
        self.scope.fault(message, self.path_of(key), self.line_of(key))

    def warn(self, key: str, message: str) -> None:
        """Record a warning about a field."""
        self.scope.warn(message, self.path_of(key), self.line_of(key))

    def allow(self, *keys: str) -> None:
        """Mark fields as known without reading them."""
        self._known.update(dict.fromkeys(keys))

    def node(self, key: str, *, required: bool = False) -> Node | None:
        """Return the node of a field."""
        self.allow(key)
        if key in self:
            return self.mapping.entries[key].node
        if required:
            self.fault(key, "is required" if key not in self.mapping.entries else "is required, and it is empty")
        return None

    def text(self, key: str, *, required: bool = False) -> str | None:
        """Read a non-empty text."""
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
        """Read one of the words in ``options``."""
        word = self.text(key, required=required)
        if word is None or word in options:
            return word
        self.fault(key, f"{word!r} is none of {', '.join(options)}{did_you_mean(word, options)}")
        return None

    def number(self, key: str, *, required: bool = False) -> Fraction | None:
        """Read a finite number, exactly as written."""
        node = self.node(key, required=required)
        if node is None:
            return None
        value = node.number if isinstance(node, ScalarNode) else None
        if value is None:
            self.fault(key, f"must be a finite decimal number such as 0.999, not {_shown(node)}")
        return value

    def boolean(self, key: str) -> bool | None:
        """Read ``true`` or ``false``."""
        node = self.node(key)
        if node is None:
            return None
        value = node.boolean if isinstance(node, ScalarNode) else None
        if value is None:
            self.fault(key, f"must be true or false, not {_shown(node)}")
        return value

    def duration(self, key: str, *, required: bool = False, fixed: bool = False) -> Duration | None:
        """Read a duration such as ``30d``; with ``fixed``, calendar durations are refused."""
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
        """Read a nested mapping."""
        node = self.node(key, required=required)
        if node is None:
            return None
        if not isinstance(node, MappingNode):
            self.fault(key, f"must be a mapping, not {node.kind}")
            return None
        return Fields(node, self.scope, self.path_of(key))

    def nodes(self, key: str, *, required: bool = False) -> list[tuple[str, Node]] | None:
        """Return the items of a list with their paths; None if there is no list."""
        node = self.node(key, required=required)
        if node is None:
            return None
        if not isinstance(node, SequenceNode):
            self.fault(key, f"must be a list, not {node.kind}")
            return None
        return [(f"{self.path_of(key)}[{number}]", item) for number, item in enumerate(node.items)]

    def subs(self, key: str, *, required: bool = False) -> list[Fields] | None:
        """Return the mappings of a list; None if there is no list."""
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
        """Return the texts of a list."""
        found = []
        for path, item in self.nodes(key) or ():
            if isinstance(item, ScalarNode) and item.text.strip():
                found.append(item.text)
            else:
                self.scope.fault("must be text, and not empty", path, item.line)
        return tuple(found)

    def close(self) -> None:
        """Report every field that was not read."""
        for key, entry in self.mapping.entries.items():
            if key not in self._known:
                hint = did_you_mean(key, self._known) or f"; known here: {', '.join(self._known) or 'nothing'}"
                self.scope.fault(f"unknown field{hint}", self.path_of(key), entry.line)


def _shown(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        return node.kind
    text = node.text if len(node.text) <= 60 else node.text[:57] + "..."
    return repr(text) if node.plain else f"the quoted text {text!r}"
