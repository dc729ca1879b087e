"""Find playbooks by incident type, file, directory or text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow_slo_provider.incidents.playbook import IncidentType, Playbook
from airflow_slo_provider.incidents.playbook_library import shipped_playbook, shipped_playbooks
from airflow_slo_provider.incidents.playbook_reader import load_playbooks


def find_playbook(source: Playbook | IncidentType | str | os.PathLike[str], folder: str = "") -> Playbook:
    """Find one playbook.

    :param source: a playbook, an incident type, a file, or the YAML text
    :param folder: base directory of relative paths; the working directory if empty
    :raises DocumentError: for a playbook with errors
    :raises ValueError: when no playbook is found, or several
    """
    found = find_playbooks(source, folder)
    if len(found) != 1:
        raise ValueError(f"{str(source)[:200]} contains {len(found)} playbooks, not one: {', '.join(one.name for one in found)}")
    return found[0]


def find_playbooks(source: Any = None, folder: str = "") -> tuple[Playbook, ...]:
    """Find playbooks.

    :param source: playbooks, incident types, files, directories, YAML texts, or one of these; None for all shipped playbooks
    :param folder: base directory of relative paths; the working directory if empty
    :raises DocumentError: for playbooks with errors
    :raises ValueError: for an item that names no playbook
    """
    if source is None:
        return shipped_playbooks()
    if isinstance(source, Sequence) and not isinstance(source, str):
        return tuple(playbook for item in source for playbook in find_playbooks(item, folder))
    if isinstance(source, Playbook):
        return (source,)
    text = os.fspath(source)
    if "\n" not in text and text in tuple(IncidentType):
        return (shipped_playbook(text),)
    if "\n" not in text:
        text = os.path.join(folder, text)
        if not Path(text).exists():
            known = ", ".join(IncidentType)
            raise ValueError(f"{text!r} is neither a file nor one of the incident types {known}")
    return tuple(load_playbooks(text))
