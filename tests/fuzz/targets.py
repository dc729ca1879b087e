"""The readers that are fuzzed. Needs nothing but the domain and PyYAML, so that it runs where the fuzzer is installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

CASES = Path(__file__).parent / "cases"


class Finding(AssertionError):
    """A reader that took what it must not take, or said what is not so."""


def read_case(path: Path) -> bytes:
    """Read a kept case. ``input`` is its bytes as Latin-1 text, or a list of texts and ``[text, times]``."""
    kept = json.loads(path.read_text(encoding="utf-8"))["input"]
    pieces = [kept] if isinstance(kept, str) else [one if isinstance(one, str) else one[0] * one[1] for one in kept]
    return "".join(pieces).encode("latin-1")


@dataclass(frozen=True)
class Target:
    """One reader.

    :param name: what it is called on the command line
    :param module: module of ``tests.fuzz`` that holds ``run(data)`` and ``SEEDS``
    :param reads: modules of the package whose lines count as the reader's
    :param structure: what its inputs are made of, for the mutations: ``json`` or ``lines``
    """

    name: str
    module: str
    reads: tuple[str, ...]
    structure: str

    @property
    def run(self) -> Callable[[bytes], None]:
        """Read one input. Whatever it raises is a finding."""
        return import_module(f"tests.fuzz.{self.module}").run

    @property
    def seeds(self) -> list[bytes]:
        """Small inputs of our own."""
        return [text.encode() for text in import_module(f"tests.fuzz.{self.module}").SEEDS]

    @property
    def cases(self) -> dict[str, bytes]:
        """Inputs that were findings once, by name."""
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
                "tracing.otlp", "tracing.span_formats", "tracing.spans", "tracing.stores", "tracing.analysis.trace_tree",
                "tracing.analysis.collector", "tracing.analysis.samples", "tracing.analysis.version_order",
                "tracing.analysis.breakdown",
            ),
            "json",
        ),
        Target("playbooks", "playbooks_target", ("incidents", "documents"), "lines"),
    )
}  # fmt: skip
