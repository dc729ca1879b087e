"""``python -m tests.fuzz.case_file TARGET NAME INPUT WHY``: store an input that was a finding as readable text."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.fuzz.targets import CASES, TARGETS


def keep(target: str, name: str, data: bytes | list[str | list[object]], why: str) -> Path:
    """Write a case.

    :param data: the input, or its pieces: texts, and ``[text, times]``
    :param why: what went wrong
    """
    if target not in TARGETS:
        raise ValueError(f"there is no target {target}, only {', '.join(TARGETS)}")
    path = CASES / target / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = data.decode("latin-1") if isinstance(data, bytes) else data
    path.write_text(json.dumps({"why": why, "input": told}, indent=1) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    print(keep(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_bytes(), sys.argv[4]))
