"""Identify the kind of a document by its apiVersion and kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from airflow_slo_provider.documents.fields import Fields, Findings, Scope, did_you_mean
from airflow_slo_provider.documents.nodes import MappingNode, Node, ScalarNode, SequenceNode
from airflow_slo_provider.exceptions import Fault
from airflow_slo_provider.slo.documents import slo_generator as google_sre
from airflow_slo_provider.slo.documents import sloth
from airflow_slo_provider.slo.documents.policy_reader import API_VERSION as OURS
from airflow_slo_provider.slo.documents.policy_reader import KIND as POLICY

OPENSLO = "openslo/v1"
#: In reading order: referenced kinds come first.
_OPENSLO_KINDS = (
    "DataSource", "SLI", "AlertCondition", "AlertNotificationTarget", "AlertPolicy", "Service", "SLO",
)  # fmt: skip
_KINDS: Mapping[str, tuple[str, ...]] = {
    OPENSLO: _OPENSLO_KINDS,
    OURS: (POLICY,),
    google_sre.API_VERSION: (google_sre.KIND,),
    sloth.API_VERSION: (sloth.KIND,),
}
#: All kinds, in reading order.
ORDER = (*_OPENSLO_KINDS[:-1], POLICY, _OPENSLO_KINDS[-1], google_sre.KIND, sloth.KIND, sloth.VERSION)
#: Versions of other tools that are not supported, with advice.
_OTHER_VERSIONS = {
    "openslo/v1alpha": "OpenSLO v1alpha is not read; write the document in openslo/v1",
    "openslo/v2alpha": "OpenSLO v2alpha is not read; write the document in openslo/v1",
    "openslo.com/v1": "OpenSLO v1 writes its apiVersion as openslo/v1",
    "openslo.com/v2alpha": "OpenSLO v2alpha is not read; write the document in openslo/v1",
    "openslo.com/v2alpha1": "OpenSLO v2alpha is not read; write the document in openslo/v1",
}


@dataclass(frozen=True)
class Document:
    """A document of a supported kind.

    :param number: its position among all documents, from 1
    :param kind: its kind; for sloth's own documents, which have none, their version
    :param fields: its fields
    """

    number: int
    kind: str
    fields: Fields


def documents(nodes: Iterable[tuple[str, Node]], findings: Findings) -> Iterator[Document]:
    """Yield the documents of supported kinds; the others are recorded as errors.

    A document that is a YAML list holds one object per item, as in OpenSLO's own examples.

    :param nodes: file name and document
    :param findings: collects the errors
    """
    number = 0
    for file, node in nodes:
        if isinstance(node, SequenceNode) and not node.items:
            findings.faults.append(Fault("is an empty list: it holds no document", file=file, line=node.line))
        for item in node.items if isinstance(node, SequenceNode) else (node,):
            number += 1
            if isinstance(item, MappingNode):
                found = _document(item, number, file, findings)
                if found is not None:
                    yield found
            else:
                message = f"must be a mapping with apiVersion and kind, not {item.kind}"
                findings.faults.append(Fault(message, document=f"document {number}", file=file, line=item.line))


def _document(node: MappingNode, number: int, file: str, findings: Findings) -> Document | None:
    """Identify a document; None, with an error, if its kind is not supported."""
    name, kind = _name(node), _word(node, "kind")
    version = _word(node, "version")
    if "apiVersion" not in node.entries and version is not None:
        service = _word(node, "service")
        fields = Fields(node, Scope(f"sloth/{service}" if service else f"document {number}", file, findings))
        if version != sloth.VERSION:
            fields.fault(
                "version", f"{version!r} is not known; sloth documents say {sloth.VERSION}, all others have an apiVersion"
            )
            return None
        return Document(number, sloth.VERSION, fields)
    label = f"{kind}/{name}" if kind and name else kind or f"document {number}"
    fields = Fields(node, Scope(label, file, findings))
    api_version = fields.text("apiVersion", required=True)
    kind = fields.text("kind", required=True)
    if api_version is None:
        return None
    if api_version not in _KINDS:
        fields.fault("apiVersion", _unknown_version(api_version))
        return None
    if kind is None:
        return None
    if kind not in _KINDS[api_version]:
        fields.fault("kind", _unknown_kind(kind, api_version))
        return None
    return Document(number, kind, fields)


def _unknown_version(version: str) -> str:
    advice = _OTHER_VERSIONS.get(version.lower())
    if advice is not None:
        return f"{version!r} cannot be used: {advice}"
    return f"{version!r} is not known{did_you_mean(version, _KINDS)}; known: {', '.join(_KINDS)}"


def _unknown_kind(kind: str, version: str) -> str:
    elsewhere = [other for other, kinds in _KINDS.items() if kind in kinds]
    if elsewhere:
        return f"{kind!r} is a kind of apiVersion {elsewhere[0]}, not of {version}"
    return f"{kind!r} is no kind of {version}{did_you_mean(kind, _KINDS[version])}; known: {', '.join(_KINDS[version])}"


def _word(node: MappingNode, key: str) -> str | None:
    entry = node.entries.get(key)
    found = entry.node if entry is not None else None
    return found.text.strip() or None if isinstance(found, ScalarNode) and not found.is_null else None


def _name(node: MappingNode) -> str | None:
    metadata = node.entries.get("metadata")
    return _word(metadata.node, "name") if metadata is not None and isinstance(metadata.node, MappingNode) else None
