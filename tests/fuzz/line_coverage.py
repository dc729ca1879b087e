"""``python -m tests.fuzz.line_coverage TARGET DIRECTORY``: print a reader's line coverage by inputs of a directory, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tests.fuzz.targets import TARGETS, Target

PACKAGE = "airflow_slo_provider"


def measure(target: Target, inputs: list[bytes]) -> tuple[int, int]:
    """Return the covered lines of functions, and the total of the modules that ran."""
    run = target.run
    wanted = {str(path) for path in _files(target)}
    seen: dict[str, set[int]] = {}

    def local(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            seen[frame.f_code.co_filename].add(frame.f_lineno)
        return local

    def enter(frame: FrameType, _event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if name not in wanted:
            return None
        seen.setdefault(name, set()).add(frame.f_lineno)
        return local

    for data in inputs:
        sys.settrace(enter)
        try:
            run(data)
        except Exception:
            pass
        finally:
            sys.settrace(None)
    lines = {name: set(_lines(compile(Path(name).read_text(encoding="utf-8"), name, "exec"))) for name in seen}
    return sum(len(lines[name] & seen[name]) for name in lines), sum(map(len, lines.values()))


def _files(target: Target) -> Iterator[Path]:
    root = Path(find_spec(PACKAGE).origin).parent  # type: ignore[union-attr,arg-type]
    for path in root.rglob("*.py"):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        if name.startswith(target.reads):
            yield path


def _lines(code: CodeType) -> Iterator[int]:
    """Return the lines of functions; lines of modules and classes run once, on import."""
    if code.co_flags & 0x2:  # CO_NEWLOCALS: a function's
        yield from (line for _, _, line in code.co_lines() if line)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _lines(constant)


if __name__ == "__main__":
    run, everything = measure(TARGETS[sys.argv[1]], [path.read_bytes() for path in sorted(Path(sys.argv[2]).iterdir())])
    print(json.dumps({"run": run, "all": everything}))
