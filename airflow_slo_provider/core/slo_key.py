"""Identify an SLO wherever its checks are stored; documents of several teams may use the same name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from airflow_slo_provider.results import CheckResult


class SLOKey(NamedTuple):
    """The identity of an SLO.

    :param service: the service; empty if the check names none
    :param name: name of the SLO
    :param labels: the group that it is evaluated for, as :func:`labels_text` writes it; empty for the SLO as a whole
    """

    service: str
    name: str
    labels: str = ""

    @classmethod
    def of(cls, check: CheckResult) -> SLOKey:
        """Return the key of a check's SLO; the service is empty if the check names none."""
        service = check.evidence.get("service")
        return cls(service if isinstance(service, str) else "", check.name, labels_text(check.labels))

    @property
    def qualified(self) -> str:
        """The name with its service, ``service/name``, which identifies the SLO; the name alone if there is no service."""
        return f"{self.service}/{self.name}" if self.service else self.name


def find_keys(wanted: str, keys: Iterable[SLOKey]) -> list[SLOKey]:
    """Return the keys that a name refers to: ``name``, which may be that of several services, or ``service/name``.

    :param wanted: the name
    :param keys: the keys to search
    """
    return [key for key in dict.fromkeys(keys) if wanted in (key.name, key.qualified)]


def ambiguous_name(wanted: str, found: Iterable[SLOKey]) -> str:
    """Return the message that a name does not identify one SLO, with the names that do.

    :param wanted: the name
    :param found: the keys that it refers to
    """
    choices = ", ".join(sorted(repr(key.qualified) for key in found))
    return f"several services have an SLO named {wanted!r}; write one of {choices}"


def display_names(keys: Iterable[SLOKey]) -> dict[SLOKey, str]:
    """Return unique names for display: the name alone while one service uses it, else ``service/name``.

    :param keys: the SLOs that are shown together
    """
    keys = list(keys)
    services: dict[str, set[str]] = {}
    for key in keys:
        services.setdefault(key.name, set()).add(key.service)
    return {key: key.name if len(services[key.name]) == 1 else key.qualified for key in keys}


def group_text(group: Mapping[str, str]) -> str:
    """Return a group as a suffix of names, e.g. ``{model_version="v2"}``; an empty text for no group."""
    pairs = ",".join(f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in group.items())
    return f"{{{pairs}}}" if pairs else ""


def labels_text(labels: Mapping[str, str] | None) -> str:
    """Serialise labels independently of their order; an empty text for no labels."""
    return json.dumps(dict(labels), sort_keys=True, separators=(",", ":")) if labels else ""
