"""Texts with the shape of a credential are redacted, and the words around them are kept."""

from __future__ import annotations

import time

import pytest

from airflow_slo_provider.core.redaction import collect_secrets, forget, redact, redact_value, remember, server_text
from airflow_slo_provider.core.secret_shapes import is_secret_name
from airflow_slo_provider.exceptions import MeasurementError, QueryError, ReasonedError
from airflow_slo_provider.results import CheckResult, Verdict

#: The secret, and the text that quotes it.
QUOTED = [
    ("s3cretvalue", "Authorization: Bearer s3cretvalue"),
    ("s3cretvalue", "authorization: s3cretvalue"),
    ("c29tZW9uZTpwdw", 'authorization="Basic c29tZW9uZTpwdw=="'),
    ("QWxhZGRpbjpvcGVu", "proxy-authorization: Basic QWxhZGRpbjpvcGVu"),
    ("abcdefgh", "headers {'Authorization': 'Bearer abcdefgh'}"),
    ("sekretsekret", "sent with bearer sekretsekret to the store"),
    ("abcdef12", "next=Bearer%20abcdef12"),
    ("abcd1234", "http://store/x?token=abcd1234&y=1"),
    ("abcd1234", "redirected to %2Fx%3Ftoken%3Dabcd1234"),
    ("abcd%2F12", "https://x.blob/y?sv=1&sig=abcd%2F12"),
    ("AIzaSyA1234", "GET /maps?key=AIzaSyA1234"),
    ("p/w-d", "postgres://user:p/w-d@host/db"),
    ("hunter2", "could not connect to postgresql://reader:hunter2@db:5432/x"),
    ("hunter2", "root:hunter2@tcp(10.0.0.1:3306)/db"),
    ("hunter2", "password=hunter2 host=x"),
    ("hunter two", "password: 'hunter two'"),
    ("abcdef99", "api_key=abcdef99"),
    ("abcd e f", '{"api_key": "abcd e f"}'),
    ("abcd1234", '{\\"token\\":\\"abcd1234\\"}'),
    ("zzzz11", 'up{token="abcd1234"} and up{auth_token="zzzz11"}'),
    ("abcd1234", "X-Api-Key: abcd1234"),
    ("verysecret", "Set-Cookie: id=verysecret; Path=/"),
    ("zzzzzz", "client_secret=zzzzzz"),
    ("AKIAIOSFODNN7EXAMPLE", "the key AKIAIOSFODNN7EXAMPLE is not known"),
    ("wJalrXUtnFEMI", "aws_secret_access_key=wJalrXUtnFEMI/K7MDENG"),
    ("eyJzdWIiOiIx", "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.abc expired"),
    ("MIIabc", "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----"),
    ("ghp_abcdefghijklmnopqrstuv", "remote: ghp_abcdefghijklmnopqrstuv"),
    ("s3cretvalue", r"https:\/\/bob:s3cretvalue@db"),
    ("s3cretvalue", "https%3A%2F%2Fbob%3As3cretvalue%40db"),
    ("s3cretvalue", "https%253A%252F%252Fbob%253As3cretvalue%2540db"),
    ("s3cretvalue", "{&quot;password&quot;:&quot;s3cretvalue&quot;}"),
    ("s3cretvalue", "{&#34;password&#x22;:&quot;s3cretvalue"),
    ("s3cretvalue", r'{"p\u0061ssword":"s3cretvalue"}'),
    ("s3cret", r'{"p\u0061ssword":"s3\u0063ret-value"}'),
    ("s3cretvalue", "pass\u200bword=s3cretvalue"),
    ("s3cretvalue", "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44=s3cretvalue"),
    ("s3cretvalue", "<password>s3cretvalue</password>"),
    ("s3cretvalue", "<db.adminPassword>s3cretvalue</db.adminPassword>"),
    ("s3cretvalue", "tool --password s3cretvalue --host x"),
    ("s3cretvalue", "tool --db-password 's3cretvalue'"),
    ("s3cretvalue", "curl -u bob:s3cretvalue https://x"),
    ("s3cretvalue", "curl --user 'bob:s3cretvalue' https://x"),
    ("s3cretvalue", "sshpass -p s3cretvalue ssh x"),
    ("s3cretvalue", "mysql -ps3cretvalue"),
    ("s3cretvalue", "password => s3cretvalue"),
    ("s3cretvalue", "'password' => 's3cretvalue'"),
    ("s3cretvalue", "auth=('bob', 's3cretvalue')"),
    ("s3cretvalue", 'HTTPBasicAuth("bob","s3cretvalue")'),
    ("s3cretvalue", "CREATE USER bob IDENTIFIED BY 's3cretvalue'"),
    ("s3cretvalue", "ALTER ROLE bob PASSWORD 's3cretvalue'"),
    ("s3cretvalue", r"Authorization: Bearer\n s3cretvalue"),
    ("s3cretvalue", r"password\t=\ts3cretvalue"),
    ("s3cretvalue", r"{\"p\\u0061ssword\":\"s3cretvalue\"}"),
    ("s3cretvalue", r"Bearer\xa0s3cretvalue"),
    ("s3cretvalue", "password: >-\n  s3cretvalue"),
    ("b c", r'{"password": "a\"b c"}'),
]
#: Sentences of ours and of databases.
PLAIN = [
    "check the connection's login, password or token",
    "auth is bearer, but there is no token",
    "login and password are sent as basic authentication",
    "Basic Authentication required",
    "basic checks passed",
    'sqlite: unrecognized token: "#"',
    "duplicate key value violates unique constraint: Key (id)=(5) already exists",
    "registry/image:v1@sha256:abcdef0123456789",
    "no route to https://host.example:9090/prefix?token=x#y",
    "the key 'abcdef' occurs twice in one object",
    'sum(increase(http_requests_total{service="a",code!~"5.."}[1h]))',
    "max_tokens=4096; tokens: 12345",
    "asked: http://prometheus:9090/prefix@2",
    "100%25 of the rows LIKE '%ab%'; a &amp; b; C:\\new\\table",
    "pass -u or --user and a port:9090; auth('x') of <tokens>",
    "the password is refused; identified by a fingerprint",
]


@pytest.mark.parametrize(("secret", "text"), QUOTED)
def test_redact_credential_by_shape_is_replaced(secret: str, text: str) -> None:
    shown = redact(f"before {text} after")
    assert secret not in shown
    assert "***" in shown
    assert shown.startswith("before ")
    assert redact(shown) == shown, "what is blanked stays as it is"


@pytest.mark.parametrize("text", PLAIN)
def test_redact_text_without_credential_is_unchanged(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    ["a" * 20_000, "token" * 4_000, "://" * 6_000, "bearer " * 3_000, "eyJ" * 6_000, "cookie: " * 2_500, "?a" * 10_000,
     'token="' + "\\" * 19_000, "a.-_" * 5_000 + "token", "x:" * 9_000, "authorization " * 1_400,
     "%25" * 6_600, "&quot;" * 3_300, "<a" * 10_000, "--a" * 6_600, "-u a" * 5_000, "auth('" * 3_300, "identified with " * 1_250,
     "<" + "a-" * 9_000 + "token", "password" + " " * 19_000, "--" + "token-" * 3_300, "\\u0061" * 3_300, "auth=" + " " * 19_000],
    ids=range(23),
)  # fmt: skip
def test_redact_hostile_text_takes_linear_time(text: str) -> None:
    """Twice the text takes about twice the time; a pattern that backtracks would take four times, or for ever."""

    def seconds(said: str) -> float:
        started = time.process_time()
        redact(said)
        return time.process_time() - started

    redact("token=warm-up")
    assert min(seconds(text + str(n)) for n in range(3)) < 1.0


def test_typed_errors_with_a_remembered_secret_are_redacted() -> None:
    collect_secrets(bearer="of-the-connection", basic=("me", "pass-of-me"), named={"X-Api-Key": "in-a-header"})
    for kind in (ReasonedError, MeasurementError, QueryError):
        error = kind("it said of-the-connection, pass-of-me and in-a-header")
        for text in (str(error), repr(error), error.message, str(error.args)):
            assert "of-the-connection" not in text
            assert "pass-of-me" not in text
            assert "in-a-header" not in text
    forget()
    assert "of-the-connection" in str(QueryError("it said of-the-connection"))


def test_remembered_secret_that_contains_another_is_replaced_whole() -> None:
    remember("abcd", "abcdefgh")
    assert redact("abcdefgh abcd") == "*** ***"


def test_remember_more_than_the_maximum_forgets_the_oldest() -> None:
    remember(*(f"secret-number-{n:05}" for n in range(1_500)))
    assert "01499" not in redact("secret-number-01499")
    assert "00000" in redact("secret-number-00000")


def test_server_text_is_one_line_and_truncated_after_redaction() -> None:
    remember("s3cret-s3cret")
    assert server_text(b"a\r\n b\xff") == "a b\ufffd"
    assert server_text(ValueError("x")) == "x"
    for before in range(80, 110):
        assert "s3cret" not in server_text("x" * before + "s3cret-s3cret", limit=100)


def test_check_result_with_secrets_is_redacted() -> None:
    remember("of-the-connection")
    said = "Authorization: Bearer of-the-connection"
    check = CheckResult(
        kind="k", name="n", verdict=Verdict.UNKNOWN, message=said, model_version="token=abcd1234",
        evidence={"query": said, "labels": [{"api_key": "abcd1234", "region": "eu"}], "rows": 5, "key": "run/1"},
    )  # fmt: skip
    text = f"{check!r} {check.to_dict()}"
    assert "of-the-connection" not in text
    assert "abcd1234" not in text
    assert check.evidence["labels"] == [{"api_key": "***", "region": "eu"}]
    assert (check.evidence["rows"], check.evidence["key"]) == (5, "run/1")


def test_redact_value_other_types_are_unchanged() -> None:
    value = {"a": [1, None, True, 0.5], "b": {"c": ("x", "y")}}
    assert redact_value(value) == value
    assert redact_value({"password": "ab"}) == {"password": "ab"}, "shorter than what is looked for"


@pytest.mark.parametrize(
    "name", ["token", "api_key", "X-Api-Key", "Authorization", "db.password", "aws_secret_access_key", "cookie"]
)
def test_is_secret_name_of_secret_names_is_true(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["key", "max_tokens", "author", "monkey", "passenger", "region", "session", "a" * 200])
def test_is_secret_name_of_other_names_is_false(name: str) -> None:
    assert not is_secret_name(name)
