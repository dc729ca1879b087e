"""Fixtures of the tracing tests."""

from __future__ import annotations

import pytest

from airflow_slo_provider import tracing
from tests.unit.tracing.traced_predictions import CapturedSpans


@pytest.fixture
def exported():
    """Configure tracing; flushing returns what was exported since."""

    class Exported:
        def configure(self, **settings) -> None:
            self._exporter = CapturedSpans()
            tracing.configure("model-server", exporter=self._exporter, **settings)

        def spans(self) -> dict[str, object]:
            assert tracing.flush()
            found, self._exporter.spans = self._exporter.spans, []
            names = [span.name for span in found]
            assert len(set(names)) == len(names)
            return {span.name: span for span in found}

    yield Exported()
    tracing.shutdown()
