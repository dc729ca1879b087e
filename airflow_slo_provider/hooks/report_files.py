"""Reports of a task: each run, task and mapped index has a directory of its own, and a retry writes over what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def write_reports(base: str, instance: Any, texts: Mapping[str, str]) -> dict[str, str]:
    """Write reports, and return their addresses by file name.

    :param base: directory for the reports of all tasks: a path or URI, e.g. ``s3://bucket/reports``
    :param instance: the task instance
    :param texts: what to write, by file name
    """
    from airflow.sdk import ObjectStoragePath

    home = ObjectStoragePath(base) / instance.dag_id / _safe(instance.run_id) / _safe(instance.task_id)
    if instance.map_index is not None and instance.map_index >= 0:
        home = home / str(instance.map_index)
    home.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        with (home / name).open("wb") as file:
            file.write(text.encode())
    return {name: str(home / name) for name in texts}


def _safe(text: str) -> str:
    name = "".join(letter if letter.isalnum() or letter in "-_.+" else "_" for letter in text)
    return name if name.strip(".") else "_" * len(name)  # dots alone would be a step upwards
