"""Write the reports of a task into a directory per run, task and map index; a retry overwrites them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

#: Run ids of Airflow, such as ``scheduled__2026-11-24T00:00:00+00:00`` and ``manual__2026-11-24T05:06:07.890+00:00_aBcD``; only
#: the time contains colons.
_RUN_ID = re.compile(r"[\w.+-]+__\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d:\d\d)?[\w.+-]*")


def write_reports(base: str, instance: Any, texts: Mapping[str, str]) -> dict[str, str]:
    """Write reports, and return their paths or URIs by file name.

    :param base: directory for the reports of all tasks: a path or URI, e.g. ``s3://bucket/reports``
    :param instance: the task instance
    :param texts: contents by file name
    """
    from airflow_slo_provider.runtime.files.object_storage import object_path

    home = object_path(base) / instance.dag_id / _safe(instance.run_id) / _safe(instance.task_id)
    if instance.map_index is not None and instance.map_index >= 0:
        home = home / str(instance.map_index)
    home.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        with (home / name).open("wb") as file:
            file.write(text.encode())
    return {name: str(home / name) for name in texts}


def _safe(text: str) -> str:
    """Return a directory name for a text; the text itself if it is a valid one.

    In Airflow's own run ids only the colons are replaced. For any other replaced character, eight digits of the text's SHA-256
    are appended, so that two texts get different names.
    """
    name = "".join(letter if letter.isalnum() or letter in "-_.+" else "_" for letter in text)
    if not name.strip("."):
        name = "_" * len(name)  # "." and ".." would be other directories
    if name == text or _RUN_ID.fullmatch(text):
        return name
    return f"{name}-{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
