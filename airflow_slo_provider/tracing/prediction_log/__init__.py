"""The prediction log: which request got which prediction from which model version, and where its trace is."""

from __future__ import annotations

from airflow_slo_provider.tracing.prediction_log.log import PredictionLog, Sink, read
from airflow_slo_provider.tracing.prediction_log.predictions import Prediction, failed, hex_trace_id, sample

__all__ = ["Prediction", "PredictionLog", "Sink", "failed", "hex_trace_id", "read", "sample"]
