"""JSON that is nested too deep or has millions of values: one typed error in every reader, and little memory."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.deployment.registries.history import RegistryError
from airflow_slo_provider.exceptions import CheckError, DeploymentError, InvalidMeasurement, QueryError

BOMB = b'{"a": [' + b"[]," * 3_333_333 + b"0]}"
CLOSED = b'{"a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"
OPEN = b'{"a": ' + b"[" * 100_000
JUST = b'{"a": ' + b"[" * 250 + b"]" * 250 + b"}"


def _http_answer(data: bytes, _: Path) -> None:
    from airflow_slo_provider.http.bodies import Body
    from airflow_slo_provider.http.json_answers import read_json

    body = Body({"Content-Encoding": "gzip"}, 256 * 1024 * 1024)
    body.feed(gzip.compress(data))
    read_json(body.content(), source="http://server", status=200)


def _golden_set(data: bytes, directory: Path) -> None:
    from airflow_slo_provider.evaluation.rows.golden_set import read_table

    file = directory / "rows.jsonl"
    file.write_bytes(b'{"id": 1}\n' + data + b"\n")
    read_table(file)


def _profile(data: bytes, directory: Path) -> None:
    from airflow_slo_provider.drift.profiles.dataset_profile import load_profile

    file = directory / "profile.json"
    file.write_bytes(data)
    load_profile(file)


def _kubernetes(data: bytes, _: Path) -> None:
    from airflow_slo_provider.deployment.kubernetes.api import KubernetesRequest, parse

    parse(data, KubernetesRequest("get", "deployments", "shop", "model"))


def _registry_file(data: bytes, directory: Path) -> None:
    from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry

    (directory / "churn").mkdir(exist_ok=True)
    (directory / "churn" / "registry.json").write_bytes(data)
    DirectoryRegistry(directory).moves("churn")


def _recorded_move(data: bytes, _: Path) -> None:
    from airflow_slo_provider.deployment.registries.history import Move

    Move.from_json(data.decode())


def _check_spec(data: bytes, directory: Path) -> None:
    from airflow_slo_provider.__main__ import _read_spec

    file = directory / "spec.json"
    file.write_bytes(data)
    _read_spec(f"@{file}")


def _traces(data: bytes, directory: Path) -> None:
    """Spans in a collector's file: the hostile part is an attribute."""
    from airflow_slo_provider.tracing.stores.otlp_files import FileStore

    file = directory / "traces.json.gz"
    start = b'{"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": ['
    file.write_bytes(gzip.compress(start + data + b"]}]}]}\n"))
    list(FileStore(file).spans("", datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)))


READERS: dict[str, tuple[Callable[[bytes, Path], None], type[Exception]]] = {
    "http_answer": (_http_answer, QueryError),
    "golden_set": (_golden_set, InvalidMeasurement),
    "drift_profile": (_profile, InvalidMeasurement),
    "kubernetes": (_kubernetes, DeploymentError),
    "registry_file": (_registry_file, RegistryError),
    "recorded_move": (_recorded_move, RegistryError),
    "check_spec": (_check_spec, CheckError),
    "traces": (_traces, QueryError),
}


@pytest.mark.parametrize("data", [CLOSED, OPEN, JUST], ids=["closed", "open", "just_too_deep"])
@pytest.mark.parametrize("reader", READERS)
def test_deep_json_is_a_non_retryable_error(reader: str, data: bytes, tmp_path: Path) -> None:
    read, kind = READERS[reader]
    with pytest.raises(kind) as caught:
        read(data, tmp_path)
    assert (caught.value.reason, caught.value.transient) == ("too_deep", False)


@pytest.mark.parametrize("reader", READERS)
def test_json_with_too_many_values_is_refused_within_200_MB(reader: str, tmp_path: Path) -> None:
    read, kind = READERS[reader]
    with pytest.raises(kind):  # what is imported is not counted
        read(CLOSED, tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(kind) as caught:
            read(BOMB, tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (caught.value.reason, caught.value.transient) == ("too_large", False)
    assert peak < 200_000_000


@pytest.mark.parametrize("data", [CLOSED, OPEN, BOMB], ids=["closed", "open", "bomb"])
def test_hostile_json_with_a_reader_default_is_ignored(data: bytes, tmp_path: Path) -> None:
    from airflow_slo_provider.checks.kinds import name_result
    from airflow_slo_provider.deployment.kubernetes.api import _message
    from airflow_slo_provider.deployment.kubernetes.changes import _read
    from airflow_slo_provider.incidents.serving import read_decision

    file = tmp_path / "decision.json"
    file.write_bytes(data)
    decision = read_decision(file)
    assert (decision.action, decision.experiments) == ("unknown", False)
    assert name_result("drift", data.decode()) == ("pod_check", None)
    assert _read(data.decode()) == []
    assert len(_message(data)) < 1_000


def test_deep_connection_extra_is_a_bad_connection() -> None:
    from types import SimpleNamespace

    from airflow_slo_provider.hooks.connection_forms.fields import read_object

    connection: Any = SimpleNamespace(conn_id="prom")
    with pytest.raises(QueryError, match="nested deeper") as caught:
        read_object(connection, CLOSED.decode(), "extra")
    assert (caught.value.reason, caught.value.transient) == ("bad_connection", False)


def test_brackets_and_commas_in_texts_are_not_counted() -> None:
    text = '{"a": "' + "[,{" * 2_000_000 + '\\" [", "b": []}'
    assert strict_json.loads(text)["b"] == []
    assert strict_json.raw_decode(text + text, 0)[1] == len(text)


def test_playbook_larger_than_a_megabyte_is_refused(tmp_path: Path) -> None:
    from airflow_slo_provider.exceptions import DocumentError
    from airflow_slo_provider.incidents.playbook_reader import load_playbooks

    text = "# a comment\n" * 100_000
    (tmp_path / "playbook.yaml").write_text(text)
    for source in (tmp_path, tmp_path / "playbook.yaml", text):
        with pytest.raises(DocumentError, match="is larger than 1 MB"):
            load_playbooks(source)


def test_profile_larger_than_its_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_slo_provider.drift.profiles import artifact_files
    from airflow_slo_provider.drift.profiles.dataset_profile import load_if_profile, load_profile

    file = tmp_path / "profile.json"
    file.write_bytes(b"[" + b" " * 2_000_000 + b"]")
    monkeypatch.setattr(artifact_files, "MAX_BYTES", 1 << 20)
    with pytest.raises(QueryError, match="is larger than 1 MiB") as caught:
        load_profile(file)
    assert (caught.value.reason, caught.value.transient) == ("too_large", False)
    assert load_if_profile(file) is None  # data, of which only the beginning is read


def test_profile_counts_that_unpack_to_more_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from airflow_slo_provider.drift.profiles import profile_json

    packed = profile_json._pack(np.zeros(1_000_000, dtype=np.int64))
    assert len(profile_json._unpack(packed)) == 1_000_000
    monkeypatch.setattr(profile_json, "MAX_BYTES", 1 << 20)
    with pytest.raises(ValueError, match="of more than 1 MiB"):
        profile_json._unpack(packed)
