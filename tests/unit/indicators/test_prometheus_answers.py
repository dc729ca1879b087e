from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus import answer_checks, answers
from airflow_slo_provider.indicators.prometheus.client import MAX_POINTS, PrometheusClient, Settings, chunks


def envelope(data: object, **more: object) -> dict[str, object]:
    return {"status": "success", "data": data, **more}


def vector(*rows: object) -> dict[str, object]:
    return {"resultType": "vector", "result": list(rows)}


def read(data: object, query: str = "q", **more: object) -> list[answers.Sample]:
    answer = answer_checks.read_answer(envelope(data, **more), query=query, source="s")
    return answers.samples(answer, query=query, source="s")


@pytest.mark.parametrize("date", [None, "", "yesterday", "Wed, 25 Nov 2026 00:00:00 -0000"])
def test_clock_check_ignores_invalid_dates(date: str | None) -> None:
    answer_checks.check_clock(date, query="q", source="s")


def test_clock_check_refuses_date_of_another_day() -> None:
    with pytest.raises(QueryError, match=r"the clock of this machine is \d+ s ahead of the server's"):
        answer_checks.check_clock("Sun, 01 Nov 2020 00:00:00 GMT", query="q", source="s")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12960", 12960),
        ("1e+06", 10**6),
        ("0.1", Fraction(1, 10)),
        ("-2.5e-3", Fraction(-1, 400)),
        ("9007199254740993", 9007199254740993),  # one more than float64 can tell
        ("5e-324", Fraction(5, 10**324)),
        ("NaN", None),
        ("+Inf", None),
        ("-Inf", None),
    ],
)
def test_parse_value_is_exact(text: str, value: Fraction | None) -> None:
    assert answers.parse_value(text) == value


@pytest.mark.parametrize("text", ["twelve", "", " 1", "1_000", "0x10", "1e9999", "1/2", "٣", 12, None, True])
def test_parse_value_refuses_invalid_text(text: object) -> None:
    with pytest.raises(ValueError, match="not a number"):
        answers.parse_value(text)


def test_nan_and_infinity_have_no_value() -> None:
    nan, inf = read(vector({"metric": {}, "value": [1, "NaN"]}, {"metric": {"a": "b"}, "value": [1, "+Inf"]}))
    assert nan.is_nan
    assert not nan.is_infinite
    assert inf.is_infinite
    assert nan.value is None is inf.value


def test_samples_and_matrix_require_their_result_types() -> None:
    assert read({"resultType": "scalar", "result": [1.5, "2"]}, "scalar(q)") == [answers.Sample({}, Fraction(2), "2", 1500)]
    for kind in ("matrix", "string"):
        with pytest.raises(QueryError) as caught:
            read({"resultType": kind, "result": []})
        assert caught.value.reason == "wrong_result_type"
    series = answers.matrix(
        answer_checks.VerifiedAnswer("matrix", [{"metric": {"a": "b"}, "values": [[1, "2"], [61.5, "3"]]}]), query="q", source="s"
    )
    assert series == [answers.RangeSeries({"a": "b"}, ((1000, "2"), (61500, "3")))]


@pytest.mark.parametrize(
    "query",
    [
        "sum by (code) (increase(requests_total[1h]))",
        "sum(increase(requests_total[1h]))",
        'label_replace((\nscalar(x)\n),"slo_q","0","","") or label_replace((\n1\n),"slo_q","1","","")',
        "time() - max(written)",
        "scalar(a) / b",
        "(scalar(a)) + c",
        "vector(1)",
        '{__name__="a"}',
        "?",
    ],
)
def test_scalar_for_a_query_over_series_is_refused(query: str) -> None:
    with pytest.raises(QueryError, match="the server answers a scalar") as caught:
        read({"resultType": "scalar", "result": [1, "2"]}, query)
    assert caught.value.reason == "wrong_result_type"


@pytest.mark.parametrize(
    "query",
    ["1", "time()", "-1.5e3 * pi()", "scalar(sum by (a) (b)) / scalar(c offset 1d)", "1 > bool Inf", "(scalar(a)) % 2"],
)
def test_scalar_for_a_scalar_query_is_read(query: str) -> None:
    assert len(read({"resultType": "scalar", "result": [1, "2"]}, query)) == 1


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"resultType": "vector"},
        {"resultType": "vector", "result": {}},
        {"resultType": "table", "result": []},
        vector(1),
        vector({"metric": {}}),
        vector({"metric": {}, "value": [1, 2]}),
        vector({"metric": {}, "value": [1, "2", "3"]}),
        vector({"metric": {"a": 1}, "value": [1, "2"]}),
        vector({"metric": {}, "value": [float("nan"), "2"]}),
        vector({"metric": {}, "histogram": [1, {}]}),
    ],
)
def test_undocumented_shape_is_refused(data: object) -> None:
    with pytest.raises(QueryError) as caught:
        read(data)
    assert (caught.value.reason, caught.value.transient) == ("unexpected_shape", False)


def test_answer_with_warnings_is_refused_and_with_infos_is_read() -> None:
    with pytest.raises(QueryError, match="store down") as caught:
        read(vector(), warnings=["store down"])
    assert (caught.value.reason, caught.value.transient) == ("partial_answer", True)
    answer = answer_checks.read_answer(envelope(vector(), infos=["metric might not be a counter"]), query="q", source="s")
    assert answer.infos == ("metric might not be a counter",)


def test_truncated_answer_is_transient() -> None:
    body = json.dumps(envelope(vector())).encode()[:-5]
    with pytest.raises(QueryError) as caught:
        answer_checks.read_envelope(200, body, query="q", source="s")
    assert (caught.value.reason, caught.value.transient) == ("truncated", True)


def test_error_message_of_the_server_is_kept_without_secrets() -> None:
    body = json.dumps({"status": "error", "errorType": "bad_data", "error": "token hunter2 " + "x" * 900}).encode()
    with pytest.raises(QueryError) as caught:
        answer_checks.read_envelope(400, body, query="q", source="s", secrets=("hunter2",))
    assert "bad_data: token *** xxx" in str(caught.value)
    assert len(caught.value.message) < 520
    assert (caught.value.http_status, caught.value.query, caught.value.reason) == (400, "q", "bad_query")


def test_format_time_is_exact_and_refuses_naive_times() -> None:
    berlin = timezone(timedelta(hours=1))
    assert answers.format_time(datetime(2026, 11, 1, 1, tzinfo=berlin)) == "1793491200"
    assert answers.format_time(datetime(2026, 11, 1, 0, 0, 0, 250_999, tzinfo=UTC)) == "1793491200.250"
    with pytest.raises(ValueError, match="no time zone"):
        answers.format_time(datetime(2026, 11, 1))


def test_chunks_cover_each_point_once() -> None:
    start, step = datetime(2026, 10, 1, tzinfo=UTC), timedelta(minutes=1)
    end = start + step * 43_199
    seen = []
    for first, last in chunks(start, end, step):
        points = (last - first) // step + 1
        assert points <= MAX_POINTS
        seen += [first + step * n for n in range(points)]
    assert seen == [start + step * n for n in range(43_200)]
    with pytest.raises(QueryError):
        chunks(end, start, step)


def test_settings_take_credentials_out_of_the_url() -> None:
    settings = Settings(url="https://us%40er:hunter2@prom.example:9090/prefix/?x=hunter2")
    assert settings.address == "https://prom.example:9090/prefix"
    assert settings.login == ("us@er", "hunter2")
    assert "hunter2" in settings.secrets
    assert PrometheusClient("http://u:p@prom.example").url == "http://prom.example"


def test_invalid_settings_are_refused() -> None:
    for url in ("prom.example:9090", "ftp://prom.example", ""):
        with pytest.raises(ValueError, match="not the URL of a server"):
            Settings(url=url)
    with pytest.raises(ValueError, match="timeout"):
        Settings(url="http://x", timeout=(0, 1))
    with pytest.raises(ValueError, match="method"):
        Settings(url="http://x", method="PUT")
