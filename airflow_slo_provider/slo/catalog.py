"""A catalog of SLOs with the services, data sources and policies they refer to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from airflow_slo_provider.core.slo_key import SLOKey, ambiguous_name, display_names, find_keys
from airflow_slo_provider.documents.fields import did_you_mean
from airflow_slo_provider.exceptions import Fault
from airflow_slo_provider.slo.model import SLO, DataSource, Indicator, Location, Objective
from airflow_slo_provider.slo.policy.error_budget_policy import DEFAULT_POLICY, ErrorBudgetPolicy

#: Selects SLOs: names, or a predicate.
Selection = str | Collection[str] | Callable[[SLO], bool]


@dataclass(frozen=True)
class Service:
    """A service that SLOs belong to.

    :param name: unique name
    :param display_name: name for display
    :param description: description
    :param location: file and line of the document
    """

    name: str
    display_name: str = ""
    description: str = ""
    location: Location = field(default_factory=Location, compare=False)


@dataclass(frozen=True)
class SLOCatalog:
    """SLOs with everything they refer to, as returned by :func:`airflow_slo_provider.slo.load`.

    :param slos: the SLOs, in the order of their documents
    :param services: services by name
    :param data_sources: data sources by name
    :param policies: error-budget policies by name
    :param warnings: warnings about the documents
    """

    slos: tuple[SLO, ...] = ()
    services: Mapping[str, Service] = field(default_factory=dict)
    data_sources: Mapping[str, DataSource] = field(default_factory=dict)
    policies: Mapping[str, ErrorBudgetPolicy] = field(default_factory=dict)
    warnings: tuple[Fault, ...] = field(default=(), compare=False)

    def __iter__(self) -> Iterator[SLO]:
        return iter(self.slos)

    def __len__(self) -> int:
        return len(self.slos)

    def __getitem__(self, name: str) -> SLO:
        by_key = {slo.key: slo for slo in self.slos}
        found = find_keys(name, by_key)
        if len(found) == 1:
            return by_key[found[0]]
        if found:
            raise KeyError(ambiguous_name(name, found))
        whole = next((slo.name for slo in self.slos for part, _ in slo.parts() if part == name), None)
        if whole is not None:
            raise KeyError(f"{name!r} is one objective of the SLO {whole!r}; name the SLO: all of its objectives are evaluated")
        names = list(display_names(by_key).values())
        known = did_you_mean(name, names) or f"; known: {', '.join(names)}"
        raise KeyError(f"there is no SLO named {name!r}{known}")

    def part(self, name: str) -> tuple[SLO, str, Objective]:
        """Return the SLO, name and objective that a report has under a name.

        :param name: ``name`` or ``service/name``; of an SLO with several objectives ``name[1]`` and so on, with the group of one
            that is evaluated by labels
        :raises ValueError: for a name that is unknown, used by several services, or that of an SLO with several objectives
        """
        parts = {SLOKey(slo.service, part): (slo, part, objective) for slo in self.slos for part, objective in slo.parts()}
        name, brace, group = name.partition("{")
        found = find_keys(name, parts)
        if len(found) == 1:
            slo, part, objective = parts[found[0]]
            return slo, f"{part}{brace}{group}", objective
        wholes = find_keys(name, (slo.key for slo in self.slos))
        if len(found) > 1 or len(wholes) > 1:
            raise ValueError(ambiguous_name(name, found or wholes))
        if not wholes:
            raise ValueError(f"there is no SLO {name!r} in these documents")
        named = ", ".join(part for slo, part, _ in parts.values() if slo.key == wholes[0])
        raise ValueError(f"the SLO {name!r} has several objectives; name one of {named}")

    def select(self, select: Selection | None = None) -> tuple[SLO, ...]:
        """Select SLOs.

        :param select: a name, several names, or a predicate; None for all. A name that several services use is written
            ``service/name``
        :return: the SLOs, in the order of the catalog
        :raises ValueError: for a name that is unknown or ambiguous, and when no SLO is selected: a gate without SLOs would
            always be open
        :raises TypeError: when ``select`` is of another type
        """
        chosen = self.matching(select)
        if not chosen:
            raise ValueError("no SLO is selected: no error budget can be evaluated")
        return chosen

    def matching(self, select: Selection | None) -> tuple[SLO, ...]:
        """Return the SLOs that :meth:`select` selects, possibly none.

        :param select: a name, several names, or a predicate; None for all
        """
        if select is None or callable(select):
            return tuple(slo for slo in self.slos if select is None or select(slo))
        if not isinstance(select, Collection) or not all(isinstance(name, str) for name in select):
            raise TypeError(f"select is {select!r}; write the name of an SLO, several names, or a function that chooses them")
        wanted = [select] if isinstance(select, str) else list(select)
        try:
            chosen = {self[name].key for name in wanted}
        except KeyError as error:
            raise ValueError(error.args[0]) from None
        return tuple(slo for slo in self.slos if slo.key in chosen)

    def policy_of(self, slo: SLO) -> ErrorBudgetPolicy:
        """Return the policy that an SLO names, or the default policy.

        :param slo: an SLO of this catalog
        """
        name = slo.options.error_budget_policy
        return DEFAULT_POLICY if name is None else self.policies[name]

    def data_source_of(self, indicator: Indicator) -> DataSource | None:
        """Return the DataSource of an indicator's queries, or the only one of its type; None if there is no such document.

        :param indicator: an indicator of this catalog
        """
        if indicator.source_ref is not None:
            return self.data_sources.get(indicator.source_ref)
        same = [source for source in self.data_sources.values() if source.type == indicator.source_type]
        return same[0] if len(same) == 1 else None
