"""Read the fields of a YAML mapping by name and type, and collect all errors."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from airflow_slo_provider.documents.durations import Duration, parse_duration
from airflow_slo_provider.documents.nodes import MappingNode, Node, ScalarNode, SequenceNode
from airflow_slo_provider.exceptions import Fault

#: 100 years: a longer duration is a mistake, and would overflow timedelta later.
_MAX_SECONDS, _MAX_MONTHS = 36525 * 86400, 1200
#: Limits of the spelling suggestions, beyond which they are too slow; there are about 600 time zones.
_MAX_KNOWN, _MAX_WORD = 700, 100
#: Number of known names that a word is compared with letter by letter.
_COMPARED = 40
#: Similarity from which a name is suggested, see ``difflib.get_close_matches``.
_SIMILAR = 0.6
_MAX_MESSAGE, _MAX_LABEL = 600, 150
N = TypeVar("N", ScalarNode, SequenceNode, MappingNode)


@dataclass
class Findings:
    """The errors and warnings of a set of documents."""

    errors: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def error(self, message: str, *, document: str = "", file: str, line: int = 0) -> None:
        """Record an error in a file or document as a whole."""
        self.errors.append(Fault(message, document=document, file=file, line=line))


@dataclass(frozen=True)
class DocumentScope:
    """The document that is being read.

    :param document: kind and name of the document, e.g. ``SLO/checkout``
    :param file: the file that contains it
    :param findings: collects the errors and warnings
    """

    document: str
    file: str
    findings: Findings

    def error(self, message: str, path: str, line: int) -> None:
        """Record an error that makes the document unusable."""
        self.findings.errors.append(self._fault(message, path, line))

    def warn(self, message: str, path: str, line: int) -> None:
        """Record a warning."""
        self.findings.warnings.append(self._fault(message, path, line))

    def _fault(self, message: str, path: str, line: int) -> Fault:
        # Messages quote the document, and a value in it may be as long as the file.
        label, where = shorten_middle(self.document, _MAX_LABEL), shorten_middle(path, _MAX_MESSAGE)
        return Fault(shorten_middle(message, _MAX_MESSAGE), where, label, self.file, line)


def shorten_middle(text: str, limit: int) -> str:
    """Shorten a text that is longer than ``limit`` to its beginning and its end."""
    return text if len(text) <= limit else f"{text[: limit - 103]}...{text[-100:]}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest known word, or an empty text."""
    by_lower = {name.lower(): name for name in known}
    if len(by_lower) > _MAX_KNOWN or len(word) > _MAX_WORD:
        return ""
    lower = word.lower()
    # difflib compares two names in up to 0.1 ms, so it gets only those that share the most pairs of letters.
    pairs = _letter_pairs(lower)
    likely = heapq.nlargest(_COMPARED, by_lower, key=lambda name: _pairs_shared(pairs, name))
    close = difflib.get_close_matches(lower, likely, n=1, cutoff=_SIMILAR)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


@lru_cache(maxsize=4 * _MAX_KNOWN)
def _letter_pairs(name: str) -> frozenset[str]:
    ends = f"^{name}$"
    return frozenset(map("".join, pairwise(ends)))


def _pairs_shared(pairs: frozenset[str], name: str) -> float:
    others = _letter_pairs(name)
    return len(pairs & others) / (len(pairs) + len(others))


class Fields:
    """The fields of one mapping. Reading a field makes it known; :meth:`close` reports the unknown fields.

    A null field counts as absent. Each method records an error and returns None if the field is invalid, so that one pass finds
    every error.

    :param node: the mapping
    :param scope: the document that contains it
    :param path: path of the mapping within the document
    """

    def __init__(self, node: MappingNode, scope: DocumentScope, path: str = "") -> None:
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

    def error(self, key: str, message: str) -> None:
        """Record an error in a field."""
        self.scope.error(message, self.path_of(key), self.line_of(key))

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
            self.error(key, "is required" if key not in self.mapping.entries else "is required, and it is empty")
        return None

    def text(self, key: str, *, required: bool = False) -> str | None:
        """Read a non-empty text."""
        node = self.node(key, required=required)
        if node is None:
            return None
        if not isinstance(node, ScalarNode):
            self.error(key, f"must be text, not {node.kind}")
            return None
        if node.text.strip():
            return node.text
        if required:
            self.error(key, "is required, and it is empty")
        return None

    def choice(self, key: str, options: Sequence[str], *, required: bool = False) -> str | None:
        """Read one of the words in ``options``."""
        word = self.text(key, required=required)
        if word is None or word in options:
            return word
        self.error(key, f"{word!r} is none of {', '.join(options)}{did_you_mean(word, options)}")
        return None

    def number(self, key: str, *, required: bool = False) -> Fraction | None:
        """Read a finite number, exactly as written."""
        value: Fraction | None = self._value(key, "number", "a finite decimal number such as 0.999", required=required)
        return value

    def boolean(self, key: str) -> bool | None:
        """Read ``true`` or ``false``."""
        value: bool | None = self._value(key, "boolean", "true or false")
        return value

    def _value(self, key: str, kind: str, rule: str, *, required: bool = False) -> Any:
        node = self.node(key, required=required)
        value = getattr(node, kind, None)
        if node is not None and value is None:
            self.error(key, f"must be {rule}, not {_format_node(node)}")
        return value

    def duration(self, key: str, *, required: bool = False, fixed: bool = False) -> Duration | None:
        """Read a duration such as ``30d``; with ``fixed``, calendar durations are refused."""
        word = self.text(key, required=required)
        if word is None:
            return None
        try:
            length = parse_duration(word)
        except ValueError as error:
            self.error(key, str(error))
            return None
        if length.seconds > _MAX_SECONDS or length.months > _MAX_MONTHS:
            self.error(key, f"{word} is longer than a hundred years")
            return None
        if fixed and length.is_calendar:
            self.error(key, f"{word} has no fixed length; write days or less, e.g. {30 * length.months}d")
            return None
        return length

    def time_zone(self, key: str, *, required: bool = False) -> str | None:
        """Read the IANA name of a time zone."""
        name = self.text(key, required=required)
        try:
            ZoneInfo(name or "UTC")
        except (LookupError, ValueError, OSError):  # ZoneInfoNotFoundError, invalid characters, the name of a directory
            self.error(key, f"{name!r} is not an IANA time zone{did_you_mean(name or '', available_timezones())}")
            return None
        return name

    def sub(self, key: str, *, required: bool = False) -> Fields | None:
        """Read a nested mapping."""
        node = self._node_of(MappingNode, key, required=required)
        return None if node is None else Fields(node, self.scope, self.path_of(key))

    def nodes(self, key: str, *, required: bool = False) -> list[tuple[str, Node]] | None:
        """Return the items of a list with their paths; None if there is no list."""
        node = self._node_of(SequenceNode, key, required=required)
        return None if node is None else [(f"{self.path_of(key)}[{number}]", item) for number, item in enumerate(node.items)]

    def _node_of(self, kind: type[N], key: str, *, required: bool) -> N | None:
        node = self.node(key, required=required)
        if node is None or isinstance(node, kind):
            return node
        self.error(key, f"must be {kind.kind}, not {node.kind}")
        return None

    def subs(self, key: str, *, required: bool = False) -> list[Fields] | None:
        """Return the mappings of a list; None if there is no list."""
        items = self.nodes(key, required=required)
        if items is None:
            return None
        if required and not items:
            self.error(key, "is required, and it is empty")
        found = []
        for path, item in items:
            if isinstance(item, MappingNode):
                found.append(Fields(item, self.scope, path))
            else:
                self.scope.error(f"must be a mapping, not {item.kind}", path, item.line)
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the texts of a list."""
        found = []
        for path, item in self.nodes(key) or ():
            if isinstance(item, ScalarNode) and item.text.strip():
                found.append(item.text)
            else:
                self.scope.error("must be text, and not empty", path, item.line)
        return tuple(found)

    def close(self) -> None:
        """Report every field that was not read."""
        for key, entry in self.mapping.entries.items():
            if key not in self._known:
                hint = did_you_mean(key, self._known) or f"; known here: {', '.join(self._known) or 'nothing'}"
                self.scope.error(f"unknown field{hint}", self.path_of(key), entry.line)


def _format_node(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        return node.kind
    text = node.text if len(node.text) <= 60 else node.text[:57] + "..."
    return repr(text) if node.plain else f"the quoted text {text!r}"
