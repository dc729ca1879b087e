"""Build a catalog from YAML documents: each document goes to the reader of its kind, referenced kinds first.

Supported are OpenSLO v1 (``openslo/v1``), this provider's ``airflow-slo/v1``, and, by import, the documents of sloth, pyrra and
slo-generator (:mod:`.sloth`, :mod:`.pyrra`, :mod:`.slo_generator`). Every other document is an error that names what was found
and what is supported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from airflow_slo_provider.core.slo_key import SLOKey
from airflow_slo_provider.documents.durations import Duration
from airflow_slo_provider.documents.fields import Fields, Findings, did_you_mean
from airflow_slo_provider.documents.nodes import Node
from airflow_slo_provider.slo.catalog import Service, SLOCatalog
from airflow_slo_provider.slo.documents import pyrra, sloth
from airflow_slo_provider.slo.documents import slo_generator as google_sre
from airflow_slo_provider.slo.documents.alert_reader import read_alert_policy, read_condition, read_target
from airflow_slo_provider.slo.documents.data_source_reader import read_data_source
from airflow_slo_provider.slo.documents.indicator_reader import Library, read_sli, valid
from airflow_slo_provider.slo.documents.kinds import ORDER, Document, identify_documents
from airflow_slo_provider.slo.documents.metadata import PREFIX, Metadata, read_metadata
from airflow_slo_provider.slo.documents.policy_reader import KIND as POLICY
from airflow_slo_provider.slo.documents.policy_reader import read_policy
from airflow_slo_provider.slo.documents.policy_warnings import find_policy_warnings, policy_fault
from airflow_slo_provider.slo.documents.query_checks import QueryChecker
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
    sloth_period: Duration = sloth.PERIOD
    library: Library = field(default_factory=Library)
    services: dict[str, Service | None] = field(default_factory=dict)
    policies: dict[str, ErrorBudgetPolicy | None] = field(default_factory=dict)
    slos: dict[SLOKey, tuple[int, SLO | None, Metadata, Fields]] = field(default_factory=dict)
    seen: dict[tuple[str, str, str], Location] = field(default_factory=dict)

    def read(self, document: Document) -> None:
        """Read one document completely, even if its name is taken, so that one pass finds every error."""
        fields = document.fields
        if document.kind == sloth.VERSION:
            self._read_sloth(document, fields, Metadata(None))
        elif document.kind == sloth.KIND:
            self._read_kubernetes_sloth(document)
        elif document.kind in ("SLO", google_sre.KIND, pyrra.KIND):
            self._read_slo(document, fields)
            fields.close()
        else:
            self._read_referenced(document, read_metadata(fields))
            fields.close()

    def _read_slo(self, document: Document, fields: Fields) -> None:
        """Read a document with one SLO: of OpenSLO, slo-generator or pyrra."""
        if document.kind == pyrra.KIND:
            metadata, service = pyrra.read_metadata(fields)
            slo = pyrra.read_slo(fields, metadata, service)
        elif document.kind == google_sre.KIND:
            metadata = read_metadata(fields, options=True)
            service, slo = google_sre.service_of(metadata), google_sre.read_slo(fields, metadata)
        else:
            metadata = read_metadata(fields, options=True)
            service, slo = _read_service_name(fields), read_slo(fields, metadata, self.library)
        if self._is_new("SLO", metadata.name, fields, service=service or ""):
            self.slos[SLOKey(service or "", metadata.name or "")] = (document.number, slo, metadata, fields)
        if slo is not None and document.kind != "SLO":
            self.services.setdefault(slo.service, Service(slo.service, location=slo.location))

    def _read_referenced(self, document: Document, metadata: Metadata) -> None:
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
            self._put(self.services, document, metadata, _read_service(fields, metadata))
        else:
            self._put(self.policies, document, metadata, read_policy(fields, metadata))

    def _put(self, documents: dict[str, T | None], document: Document, metadata: Metadata, found: T | None) -> None:
        """Store the first document of a name; None for one with errors, so that a reference to it is not a second error."""
        if self._is_new(document.kind, metadata.name, document.fields):
            documents[metadata.name or ""] = found

    def _read_kubernetes_sloth(self, document: Document) -> None:
        metadata = sloth.read_kubernetes_metadata(document.fields)
        spec = document.fields.sub("spec", required=True)
        document.fields.allow("status")
        document.fields.close()
        if spec is not None:
            self._read_sloth(document, spec, metadata)

    def _read_sloth(self, document: Document, spec: Fields, metadata: Metadata) -> None:
        service, slos = sloth.read_service(spec, metadata, kubernetes=document.kind == sloth.KIND, period=self.sloth_period)
        if service is not None:
            location = Location(spec.scope.file, document.fields.mapping.line)
            self.services.setdefault(service, Service(service, location=location))
        for name, slo, fields in slos:
            if self._is_new("SLO", name, fields, key="name", service=service or ""):
                self.slos[SLOKey(service or "", name or "")] = (document.number, slo, metadata, fields)

    def _is_new(self, kind: str, name: str | None, fields: Fields, *, key: str = "metadata.name", service: str = "") -> bool:
        if name is None:
            return True
        here = Location(fields.scope.file, fields.mapping.line)
        first = self.seen.setdefault((kind, service, name), here)
        if first is here:
            return True
        what = f"SLOs of the service {service!r}" if service else f"documents of kind {kind}"
        message = f"two {what} are named {name!r}; the first is in {first.file}:{first.line}"
        fields.scope.error(message, fields.path_of(key), here.line)
        return False

    def finish(self) -> SLOCatalog:
        """Check queries and references across documents, and build the catalog."""
        checker, slos = QueryChecker(self.findings), list[SLO]()
        missing: dict[str, list[Fields]] = {}
        for _, slo, metadata, fields in sorted(self.slos.values(), key=lambda item: item[0]):
            self._check_policy(metadata)
            if slo is not None:
                if slo.service not in self.services and (spec := fields.sub("spec")) is not None:
                    missing.setdefault(slo.service, []).append(spec)
                slos.append(checker.check_slo(slo, metadata))
        for service, specs in missing.items():
            self._report_missing_service(service, specs)
        checker.finish(valid(self.library.indicators.values()))
        return SLOCatalog(
            tuple(slos),
            _valid_items(self.services),
            _valid_items(self.library.data_sources),
            _valid_items(self.policies),
            tuple(self.findings.warnings),
        )

    def _report_missing_service(self, service: str, specs: list[Fields]) -> None:
        """Report a service without a document: an error of each SLO if its name may be misspelt, otherwise one warning.

        :param specs: the ``spec`` of each SLO of the service
        """
        known = did_you_mean(service, self.services)
        message = f"there is no Service document named {service!r}{known}"
        if not known:
            more = len(specs) - 1
            others = f"; {more} other SLO{'s have' if more > 1 else ' has'} this service" if more else ""
            specs[0].warn("service", message + others)
            return
        for spec in specs:  # a misspelt service would be a new one, without the recorded state of the right one, such as a freeze
            spec.error("service", f"{message} If it is another service, write a Service document for it")

    def _check_policy(self, metadata: Metadata) -> None:
        name = metadata.annotations.get(POLICY_KEY, "").strip()
        if name and name not in self.policies and metadata.source is not None:
            there = ", ".join(sorted(filter(None, self.policies)))
            known = did_you_mean(name, self.policies) or (f"; there are: {there}" if there else "; these documents hold none")
            metadata.source.error(POLICY_KEY, f"there is no {POLICY} document named {name!r}{known}")

    def check_overrides(self, now: datetime) -> None:
        """Report overrides without effect: an error if somebody relies on it to block deployments, otherwise a warning."""
        if not self.slos:  # a file with policies only does not belong to a gate
            return
        followed = {key: item[2].annotations.get(POLICY_KEY, "").strip() or None for key, item in self.slos.items()}
        for policy in self.policies.values():
            for idle in idle_overrides(policy, followed, now) if policy else ():
                assert policy is not None
                reported = self.findings.errors if idle.opens else self.findings.warnings
                reported.append(policy_fault(policy, idle.problem, f"spec.overrides[{idle.number}]"))


def read_documents(nodes: Iterable[tuple[str, Node]], findings: Findings, *, sloth_period: Duration = sloth.PERIOD) -> SLOCatalog:
    """Read documents into a catalog. The catalog is complete only if ``findings`` holds no error afterwards.

    :param nodes: file name and document, in reading order
    :param findings: collects the errors and warnings
    :param sloth_period: time window of sloth's SLOs, whose documents do not name it
    """
    reader = _Reader(findings, sloth_period)
    for document in sorted(identify_documents(nodes, findings), key=lambda document: ORDER.index(document.kind)):
        reader.read(document)
    reader.check_overrides(datetime.now(UTC))
    catalog = reader.finish()
    findings.warnings.extend(find_policy_warnings(catalog.policies.values(), catalog.slos))
    return catalog


def _read_service(document: Fields, metadata: Metadata) -> Service | None:
    spec = document.sub("spec")
    description = spec.text("description") or "" if spec is not None else ""
    if spec is not None:
        spec.close()
    if metadata.name is None:
        return None
    return Service(metadata.name, metadata.display_name, description, Location(document.scope.file, document.mapping.line))


def _read_service_name(document: Fields) -> str | None:
    """Read the service of an SLO, also of one with errors, because it is part of its identity."""
    spec = document.sub("spec")
    return spec.text("service") if spec is not None else None


def _valid_items(documents: Mapping[str, T | None]) -> dict[str, T]:
    return {name: document for name, document in documents.items() if document is not None}
