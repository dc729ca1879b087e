"""Log each prediction with its request id, model version and trace id."""

from __future__ import annotations

from airflow_slo_provider.tracing.prediction_log.log import PredictionLog, Sink, read
from airflow_slo_provider.tracing.prediction_log.predictions import Prediction, failed, hex_trace_id, sample

__all__ = ["Prediction", "PredictionLog", "Sink", "failed", "hex_trace_id", "read", "sample"]
