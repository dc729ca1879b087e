"""The fuzzed readers. Needs only the domain and PyYAML, so that it runs in the environment of the fuzzer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

CASES = Path(__file__).parent / "cases"


class Finding(AssertionError):
    """A reader accepted an invalid input or returned a wrong result."""


def read_case(path: Path) -> bytes:
    """Read a stored case. ``input`` is its bytes as Latin-1 text, or a list of texts and ``[text, times]``."""
    kept = json.loads(path.read_text(encoding="utf-8"))["input"]
    pieces = [kept] if isinstance(kept, str) else [one if isinstance(one, str) else one[0] * one[1] for one in kept]
    return "".join(pieces).encode("latin-1")


@dataclass(frozen=True)
class Target:
    """One reader.

    :param name: its name on the command line
    :param module: module of ``tests.fuzz`` with ``run(data)`` and ``SEEDS``
    :param reads: modules of the reader, for line coverage
    :param structure: structure of its inputs, for mutations: ``json`` or ``lines``
    """

    name: str
    module: str
    reads: tuple[str, ...]
    structure: str

    @property
    def run(self) -> Callable[[bytes], None]:
        """Return the function that reads one input; its exceptions are findings."""
        return import_module(f"tests.fuzz.{self.module}").run

    @property
    def seeds(self) -> list[bytes]:
        """Return small hand-written inputs."""
        return [text.encode() for text in import_module(f"tests.fuzz.{self.module}").SEEDS]

    @property
    def cases(self) -> dict[str, bytes]:
        """Return earlier findings by name."""
        return {path.stem: read_case(path) for path in sorted((CASES / self.name).glob("*.json"))}


TARGETS = {
    target.name: target
    for target in (
        Target("documents", "documents_target", ("slo",), "lines"),
        Target("prometheus", "prometheus_target", ("indicators.prometheus.source", "slo.promql.selectors"), "json"),
        Target(
            "traces",
            "traces_target",
            (
                "tracing.otlp", "tracing.span_formats", "tracing.span_ids", "tracing.spans", "tracing.stores",
                "tracing.analysis.trace_tree", "tracing.analysis.collector", "tracing.analysis.samples",
                "tracing.analysis.version_order", "tracing.analysis.breakdown",
            ),
            "json",
        ),
        Target("playbooks", "playbooks_target", ("incidents", "documents"), "lines"),
    )
}  # fmt: skip
