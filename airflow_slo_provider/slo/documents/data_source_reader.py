"""Read OpenSLO DataSource documents, and refuse secrets in documents."""

from __future__ import annotations

import re
from typing import Any

from airflow_slo_provider.documents.fields import DocumentScope, Fields, did_you_mean
from airflow_slo_provider.documents.nodes import MappingNode, Node, ScalarNode, SequenceNode, plain_value
from airflow_slo_provider.slo.documents.metadata import Metadata
from airflow_slo_provider.slo.model import DataSource, Location

KNOWN_TYPES = ("Prometheus", "SQL", "Ledger")
CONN_ID = "airflowConnId"
_SECRET_WORDS = (
    "password", "passwd", "passphrase", "secret", "token", "apikey", "appkey", "accesskey", "applicationkey", "privatekey",
    "credential", "authorization", "bearer",
)  # fmt: skip
_SECRET_URL = re.compile(
    r"\s*[a-z][a-z0-9+.-]*://(?:[^/?#\s]*@|\S*[?&;][a-z_-]*(?:token|key|password|passwd|secret|credential)s?=[^&\s])",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(r"\s*(?:bearer|basic)\s+\S|(?:.*[\s;])?(?:password|passwd|pwd)\s*=\s*\S", re.IGNORECASE)
_ADVICE = f"keep it in an Airflow connection and name that with {CONN_ID}"


def read_data_source(document: Fields, metadata: Metadata) -> DataSource | None:
    """Read a DataSource.

    ``connectionDetails`` is a mapping, or a list of mappings as in OpenSLO's own examples.
    """
    spec = document.sub("spec", required=True)
    if spec is None:
        return None
    spec.text("description")
    kind = known_type(spec.text("type", required=True))
    if kind is not None:
        warn_unknown_type(spec, "type", kind)
    details = _read_details(spec)
    spec.close()
    if kind == "SQL" and CONN_ID not in details:
        spec.warn("connectionDetails", f"names no database; add {CONN_ID}: the id of an Airflow connection")
    if metadata.name is None or kind is None:
        return None
    return DataSource(metadata.name, kind, details, Location(spec.scope.file, document.mapping.line))


def known_type(kind: str | None) -> str | None:
    """Return the type in the spelling of :data:`KNOWN_TYPES` (``prometheus`` is Prometheus); other types unchanged."""
    return {known.lower(): known for known in KNOWN_TYPES}.get((kind or "").lower(), kind)


def warn_unknown_type(fields: Fields, key: str, kind: str) -> None:
    """Warn about a type of data source that can be read but not measured.

    It is not an error: the catalog may be shared with other tools, and its other SLOs can be measured.
    """
    if kind not in KNOWN_TYPES:
        known = ", ".join(KNOWN_TYPES)
        effect = f"its SLOs are always unknown to gates{did_you_mean(kind, KNOWN_TYPES)}"
        fields.warn(key, f"data of type {kind!r} cannot be measured (only {known}); {effect}")


def refuse_secrets(node: Node, scope: DocumentScope, path: str, line: int) -> None:
    """Record an error for everything that looks like a secret; the message never repeats the secret.

    :param node: the node to search
    :param path: path of the node within the document
    :param line: line of its key
    :param scope: the document
    """
    if isinstance(node, MappingNode):
        for key, entry in node.entries.items():
            at = f"{path}.{key}"
            if _is_secret_name(key) and not _is_empty(entry.node):
                scope.error(f"a secret must not be written into a document; {_ADVICE}", at, entry.line)
            elif key != "query":  # a query may contain URLs and columns named password
                refuse_secrets(entry.node, scope, at, entry.line)
    elif isinstance(node, SequenceNode):
        for number, item in enumerate(node.items):
            refuse_secrets(item, scope, f"{path}[{number}]", item.line)
    elif _SECRET_URL.match(node.text):
        scope.error(f"a URL must not carry credentials; {_ADVICE}", path, line)
    elif _SECRET_VALUE.match(node.text):
        scope.error(f"a secret must not be written into a document; {_ADVICE}", path, line)


def _read_details(spec: Fields) -> dict[str, Any]:
    node = spec.node("connectionDetails")
    if node is None:
        return {}
    path, line = spec.path_of("connectionDetails"), spec.line_of("connectionDetails")
    refuse_secrets(node, spec.scope, path, line)
    parts = node.items if isinstance(node, SequenceNode) else (node,)
    details: dict[str, Any] = {}
    for part in parts:
        if not isinstance(part, MappingNode):
            spec.scope.error(f"must be a mapping or a list of mappings, not {part.kind}", path, part.line)
            continue
        for key, entry in part.entries.items():
            if key in details:
                spec.scope.error("occurs twice in connectionDetails", f"{path}.{key}", entry.line)
            elif key != CONN_ID and did_you_mean(key, [CONN_ID]):
                spec.scope.error(f"unknown field; did you mean {CONN_ID!r}?", f"{path}.{key}", entry.line)
            elif key == CONN_ID and not (isinstance(entry.node, ScalarNode) and entry.node.text.strip()):
                spec.scope.error("must be the id of an Airflow connection", f"{path}.{key}", entry.line)
            details[key] = entry.node.text if key == CONN_ID and isinstance(entry.node, ScalarNode) else plain_value(entry.node)
    if CONN_ID not in details and "url" in details:
        spec.warn("connectionDetails", f"the url is not used; name an Airflow connection with {CONN_ID}")
    return details


def _is_secret_name(key: str) -> bool:
    letters = re.sub(r"[^a-z]", "", key.lower())
    return letters in ("pwd", "pass", "auth", "basicauth") or any(word in letters for word in _SECRET_WORDS)


def _is_empty(node: Node) -> bool:
    return node.is_null or (isinstance(node, ScalarNode) and not node.text)
