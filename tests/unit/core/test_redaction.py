"""Known secrets are redacted in every encoding, and nothing else is."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_slo_provider.core.redaction import collect_secrets, public_url, redact, user_info

TEXT = st.text(st.characters(codec="utf-8"), min_size=4, max_size=40)
WRITTEN = {
    "as it is": str,
    "in a path": lambda text: quote(text, safe=""),
    "in a query": quote_plus,
    "in JSON": lambda text: json.dumps(text)[1:-1],
    "in JSON, not escaped": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "in HTML": html.escape,
    "taken for Latin-1": lambda text: text.encode().decode("latin-1"),
}


@pytest.mark.parametrize("form", WRITTEN)
@given(secret=TEXT)
@example(secret="p&ss/+é\"<' ?")
def test_redact_secret_in_any_encoding_is_replaced(form: str, secret: str) -> None:
    shown = redact(f"before {WRITTEN[form](secret)} after", [secret], limit=None)
    assert WRITTEN[form](secret) not in shown or secret in "before *** after"
    assert shown.startswith("before") or secret[:1] in "before "


@given(login=st.text(st.characters(codec="utf-8", exclude_characters=":"), min_size=1, max_size=20), password=TEXT)
def test_redact_basic_authorization_header_is_replaced(login: str, password: str) -> None:
    for code in ("utf-8", "latin-1"):
        pair = base64.b64encode(f"{login}:{password}".encode(code, "replace")).decode()
        assert pair not in redact(f"Authorization: Basic {pair}", collect_secrets(basic=(login, password)), limit=None)


@given(login=TEXT, password=TEXT)
def test_public_url_with_user_info_omits_it(login: str, password: str) -> None:
    url = f"https://{quote(login, safe='')}:{quote(password, safe='')}@host.example:9090/prefix?token=x#y"
    assert public_url(url) == "https://host.example:9090/prefix"
    assert user_info(url) == (login, password)
    assert password in collect_secrets(url=url)
    assert redact(f"no route to {url}", []) == "no route to https://***@host.example:9090/prefix?token=x#y"


@pytest.mark.parametrize("url", ["http://[broken", "http://host:port/", "", "://"])
def test_public_url_of_invalid_url_raises_nothing(url: str) -> None:
    assert isinstance(public_url(url), str)
    assert user_info(url) is None


def test_redact_secret_at_the_limit_leaves_no_part() -> None:
    secret = "s3cret-s3cret-s3cret"
    for before in range(80, 110):
        assert "s3cret" not in redact("x" * before + secret, [secret], limit=100)


def test_collect_secrets_headers_are_chosen_by_name() -> None:
    named = {
        "Authorization": "Bearer abcdefgh",
        "X-Api-Key": "ijklmnop",
        "X-Scope-OrgID": "team-a",
        "Cookie": "sess=1",
        "x": "yz",
    }
    assert set(collect_secrets(named=named)) == {"Bearer abcdefgh", "abcdefgh", "ijklmnop", "sess=1"}


def test_collect_secrets_shorter_than_the_minimum_are_ignored() -> None:
    assert collect_secrets(basic=("a", "it"), bearer="on") == ()


@pytest.mark.parametrize(
    ("reference", "shown"),
    [("/api/v1/query?token=x", "/api/v1/query"), ("//me:secret@host/path", "//host/path"), ("login#part", "login")],
)
def test_public_url_of_relative_reference_has_no_scheme(reference: str, shown: str) -> None:
    assert public_url(reference) == shown
