"""Identify the kind of a document by its apiVersion and kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from airflow_slo_provider.documents.fields import DocumentScope, Fields, Findings, did_you_mean
from airflow_slo_provider.documents.nodes import MappingNode, Node, ScalarNode, SequenceNode
from airflow_slo_provider.slo.documents import pyrra, sloth
from airflow_slo_provider.slo.documents import slo_generator as google_sre
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
    pyrra.API_VERSION: (pyrra.WRITTEN_KIND,),
}
#: All kinds, in reading order.
ORDER = (*_OPENSLO_KINDS[:-1], POLICY, _OPENSLO_KINDS[-1], google_sre.KIND, pyrra.KIND, sloth.KIND, sloth.VERSION)
#: Describes what is read from each tool.
PAGE = "docs/documents.md"
#: Beginnings of the apiVersions of known tools: name, and what to do.
_TOOLS = {
    "openslo": ("OpenSLO", f"write apiVersion {OPENSLO}"),
    "sloth.slok.dev": ("sloth", f"write apiVersion {sloth.API_VERSION}, or outside of Kubernetes version {sloth.VERSION}"),
    "pyrra.dev": ("pyrra", f"write apiVersion {pyrra.API_VERSION}"),
    "sre.google.com": ("slo-generator", f"write apiVersion {google_sre.API_VERSION}"),
    "n9": ("Nobl9", f"its documents cannot be read; write the SLO with apiVersion {OPENSLO}"),
    "nobl9": ("Nobl9", f"its documents cannot be read; write the SLO with apiVersion {OPENSLO}"),
}
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
    :param kind: its kind; for sloth's own documents, which have none, their version; for pyrra's :data:`.pyrra.KIND`
    :param fields: its fields
    """

    number: int
    kind: str
    fields: Fields


def identify_documents(nodes: Iterable[tuple[str, Node]], findings: Findings) -> Iterator[Document]:
    """Yield the documents of supported kinds; the others are recorded as errors.

    A document that is a YAML list holds one object per item, as in OpenSLO's own examples.

    :param nodes: file name and document
    :param findings: collects the errors
    """
    number = 0
    for file, node in nodes:
        if isinstance(node, SequenceNode) and not node.items:
            findings.error("is an empty list: it holds no document", file=file, line=node.line)
        for item in node.items if isinstance(node, SequenceNode) else (node,):
            number += 1
            if isinstance(item, MappingNode):
                document = _identify(item, number, file, findings)
                if document is not None:
                    yield document
            else:
                message = f"must be a mapping with apiVersion and kind, not {item.kind}"
                findings.error(message, document=f"document {number}", file=file, line=item.line)


def _identify(node: MappingNode, number: int, file: str, findings: Findings) -> Document | None:
    """Identify a document; None, with an error, if its kind is not supported."""
    name, kind, version = _read_name(node), _read_word(node, "kind"), _read_word(node, "version")
    if "apiVersion" not in node.entries and version is not None:
        service = _read_word(node, "service")
        fields = Fields(node, DocumentScope(f"sloth/{service}" if service else f"document {number}", file, findings))
        if version == sloth.VERSION:
            return Document(number, sloth.VERSION, fields)
        message = f"{version!r} is unknown; sloth documents have version {sloth.VERSION}, all others an apiVersion"
        fields.error("version", f"{message}; see {PAGE}")
        return None
    label = f"{kind}/{name}" if kind and name else kind or f"document {number}"
    fields = Fields(node, DocumentScope(label, file, findings))
    api_version = fields.text("apiVersion", required=True)
    kind = fields.text("kind", required=True)
    if api_version is None:
        return None
    if api_version not in _KINDS:
        fields.error("apiVersion", _unknown_version(api_version))
    elif kind is not None and kind not in _KINDS[api_version]:
        fields.error("kind", _unknown_kind(kind, api_version))
    elif kind is not None:
        return Document(number, pyrra.KIND if api_version == pyrra.API_VERSION else kind, fields)
    return None


def _unknown_version(version: str) -> str:
    advice = _OTHER_VERSIONS.get(version.lower())
    if advice is not None:
        return f"{version!r} cannot be used: {advice}; see {PAGE}"
    tool, _, rest = version.lower().partition("/")
    known = _TOOLS.get(tool) or _TOOLS.get(tool.removesuffix(".com"))
    if known is not None and rest:
        name, remedy = known
        return f"{version!r} is not a version of {name} that is read here: {remedy}; see {PAGE}"
    return f"{version!r} is not known{did_you_mean(version, _KINDS)}; known: {', '.join(_KINDS)}"


def _unknown_kind(kind: str, version: str) -> str:
    elsewhere = [other for other, kinds in _KINDS.items() if kind in kinds]
    if elsewhere:
        return f"{kind!r} is a kind of apiVersion {elsewhere[0]}, not of {version}"
    return f"{kind!r} is no kind of {version}{did_you_mean(kind, _KINDS[version])}; known: {', '.join(_KINDS[version])}"


def _read_word(node: MappingNode, key: str) -> str | None:
    value = node.entries[key].node if key in node.entries else None
    return value.text.strip() or None if isinstance(value, ScalarNode) and not value.is_null else None


def _read_name(node: MappingNode) -> str | None:
    metadata = node.entries.get("metadata")
    return _read_word(metadata.node, "name") if metadata is not None and isinstance(metadata.node, MappingNode) else None
