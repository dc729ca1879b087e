"""Build a catalog from YAML documents: each document goes to the reader of its kind, referenced kinds first.

Supported are OpenSLO v1 (``openslo/v1``), this provider's ``airflow-slo/v1``, and, by import, sloth's and slo-generator's
documents (:mod:`.sloth`, :mod:`.slo_generator`). Every other document is an error that names what was found and what is
supported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from airflow_slo_provider.documents.fields import Fields, Findings, did_you_mean
from airflow_slo_provider.documents.nodes import MappingNode, Node
from airflow_slo_provider.exceptions import Fault
from airflow_slo_provider.slo.catalog import Service, SLOCatalog
from airflow_slo_provider.slo.documents import slo_generator as google_sre
from airflow_slo_provider.slo.documents import sloth
from airflow_slo_provider.slo.documents.alert_reader import read_alert_policy, read_condition, read_target
from airflow_slo_provider.slo.documents.data_source_reader import read_data_source
from airflow_slo_provider.slo.documents.indicator_reader import Library, read_sli
from airflow_slo_provider.slo.documents.kinds import ORDER, Document, documents
from airflow_slo_provider.slo.documents.metadata import PREFIX, Metadata, read_metadata
from airflow_slo_provider.slo.documents.policy_reader import KIND as POLICY
from airflow_slo_provider.slo.documents.policy_reader import read_policy
from airflow_slo_provider.slo.documents.policy_warnings import doubts
from airflow_slo_provider.slo.documents.slo_reader import read_slo
from airflow_slo_provider.slo.model import SLO, Location
from airflow_slo_provider.slo.policy.error_budget_policy import ErrorBudgetPolicy
from airflow_slo_provider.slo.policy.overrides import idle_overrides

T = TypeVar("T")
POLICY_KEY = PREFIX + "error-budget-policy"


@dataclass
class _Reader:
    """The documents read so far."""

    findings: Findings
    library: Library = field(default_factory=Library)
    services: dict[str, Service | None] = field(default_factory=dict)
    policies: dict[str, ErrorBudgetPolicy | None] = field(default_factory=dict)
    slos: dict[str, tuple[int, SLO | None, Metadata, Fields]] = field(default_factory=dict)
    seen: dict[tuple[str, str], Location] = field(default_factory=dict)

    def take(self, document: Document) -> None:
        """Read one document completely, even if its name is taken, so that one pass finds every error."""
        fields = document.fields
        if document.kind == sloth.VERSION:
            self._sloth(document, fields, Metadata(None))
        elif document.kind == sloth.KIND:
            self._kubernetes_sloth(document)
        elif document.kind in ("SLO", google_sre.KIND):
            metadata = read_metadata(fields, options=True)
            is_new = self._is_new("SLO", metadata.name, fields)
            ours = document.kind == "SLO"
            slo = read_slo(fields, metadata, self.library) if ours else google_sre.read_slo(fields, metadata)
            if is_new:
                self._keep(document.number, metadata.name or "", slo, metadata, fields)
            if slo is not None and not ours:
                self.services.setdefault(slo.service, Service(slo.service, location=slo.location))
            fields.close()
        else:
            self._shelve(document, read_metadata(fields))
            fields.close()

    def _shelve(self, document: Document, metadata: Metadata) -> None:
        """Read a document that SLOs refer to."""
        fields, library = document.fields, self.library
        if document.kind == "DataSource":
            self._put(library.data_sources, document, metadata, read_data_source(fields, metadata))
        elif document.kind == "SLI":
            self._put(library.indicators, document, metadata, read_sli(fields, metadata, library))
        elif document.kind == "AlertCondition":
            self._put(library.conditions, document, metadata, read_condition(fields, metadata))
        elif document.kind == "AlertNotificationTarget":
            self._put(library.targets, document, metadata, read_target(fields))
        elif document.kind == "AlertPolicy":
            self._put(library.alert_policies, document, metadata, read_alert_policy(fields, metadata, library))
        elif document.kind == "Service":
            self._put(self.services, document, metadata, _service(fields, metadata))
        else:
            self._put(self.policies, document, metadata, read_policy(fields, metadata))

    def _put(self, shelf: dict[str, T | None], document: Document, metadata: Metadata, found: T | None) -> None:
        """Store the first document of a name; None for one with errors, so that a reference to it is not a second error."""
        if self._is_new(document.kind, metadata.name, document.fields):
            shelf[metadata.name or ""] = found

    def _kubernetes_sloth(self, document: Document) -> None:
        metadata = sloth.read_annotations(document.fields)
        spec = document.fields.sub("spec", required=True)
        document.fields.allow("status")
        document.fields.close()
        if spec is not None:
            self._sloth(document, spec, metadata)

    def _sloth(self, document: Document, spec: Fields, metadata: Metadata) -> None:
        service, slos = sloth.read_service(spec, metadata, kubernetes=document.kind == sloth.KIND)
        if service is not None:
            place = Location(spec.scope.file, document.fields.mapping.line)
            self.services.setdefault(service, Service(service, location=place))
        for name, slo, fields in slos:
            if self._is_new("SLO", name, fields, key="name"):
                self._keep(document.number, name or "", slo, metadata, fields)

    def _keep(self, number: int, name: str, slo: SLO | None, metadata: Metadata, fields: Fields) -> None:
        self.slos[name] = (number, slo, metadata, fields)

    def _is_new(self, kind: str, name: str | None, fields: Fields, *, key: str = "metadata.name") -> bool:
        if name is None:
            return True
        here = Location(fields.scope.file, fields.mapping.line)
        first = self.seen.setdefault((kind, name), here)
        if first is here:
            return True
        path = f"{fields.path}.{key}" if fields.path else key
        fields.scope.fault(
            f"there are two of kind {kind} named {name!r}; the first is in {first.file}:{first.line}", path, here.line
        )
        return False

    def finish(self) -> SLOCatalog:
        """Check references across documents, and build the catalog."""
        kept = sorted((item for item in self.slos.values() if item[1] is not None), key=lambda item: item[0])
        for _, slo, metadata, fields in self.slos.values():
            self._check_policy(metadata)
            if slo is not None:
                self._check_service(slo, fields)
        return SLOCatalog(
            tuple(slo for _, slo, _, _ in kept if slo is not None),
            _present(self.services),
            _present(self.library.data_sources),
            _present(self.policies),
            tuple(self.findings.warnings),
        )

    def _check_service(self, slo: SLO, fields: Fields) -> None:
        if slo.service not in self.services:
            spec = fields.mapping.entries["spec"].node
            line = (
                spec.entries["service"].line
                if isinstance(spec, MappingNode) and "service" in spec.entries
                else fields.mapping.line
            )
            known = did_you_mean(slo.service, self.services)
            message = f"there is no Service document named {slo.service!r}{known}"
            if known:  # a misspelt service would be a new one, without the recorded state of the right one, such as a freeze
                fields.scope.fault(f"{message} If it is another service, write a Service document for it", "spec.service", line)
            else:
                fields.scope.warn(message, "spec.service", line)

    def _check_policy(self, metadata: Metadata) -> None:
        name = metadata.annotations.get(POLICY_KEY, "").strip()
        if name and name not in self.policies and metadata.source is not None:
            known = did_you_mean(name, self.policies) or _listed(self.policies)
            metadata.source.fault(POLICY_KEY, f"there is no {POLICY} document named {name!r}{known}")

    def check_overrides(self, now: datetime) -> None:
        """Report overrides without effect: an error if somebody relies on it to block deployments, otherwise a warning."""
        if not self.slos:  # a file with policies only does not belong to a gate
            return
        followed = {name: item[2].annotations.get(POLICY_KEY, "").strip() or None for name, item in self.slos.items()}
        for policy in self.policies.values():
            for idle in idle_overrides(policy, followed, now) if policy else ():
                assert policy is not None
                where, path = policy.location, f"spec.overrides[{idle.number}]"
                found = self.findings.faults if idle.opens else self.findings.warnings
                found.append(Fault(idle.why, path, f"{POLICY}/{policy.name}", where.file, where.line))


def read_documents(nodes: Iterable[tuple[str, Node]], findings: Findings) -> SLOCatalog:
    """Read documents into a catalog. The catalog is complete only if ``findings`` holds no error afterwards.

    :param nodes: file name and document, in reading order
    :param findings: collects the errors and warnings
    """
    reader = _Reader(findings)
    for document in sorted(documents(nodes, findings), key=lambda document: ORDER.index(document.kind)):
        reader.take(document)
    reader.check_overrides(datetime.now(UTC))
    catalog = reader.finish()
    findings.warnings.extend(doubts(catalog.policies.values(), catalog.slos))
    return catalog


def _service(document: Fields, metadata: Metadata) -> Service | None:
    spec = document.sub("spec")
    description = ""
    if spec is not None:
        description = spec.text("description") or ""
        spec.close()
    if metadata.name is None:
        return None
    return Service(metadata.name, metadata.display_name, description, Location(document.scope.file, document.mapping.line))


def _listed(names: Iterable[str]) -> str:
    found = ", ".join(sorted(name for name in names if name))
    return f"; there are: {found}" if found else f"; none of these documents is an {POLICY}"


def _present(shelf: Mapping[str, T | None]) -> dict[str, T]:
    return {name: item for name, item in shelf.items() if item is not None}
