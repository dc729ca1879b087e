"""Redact credentials in URLs, server answers and driver errors.

A server that refuses a request may quote it, including its headers; a library's error may quote the URL with its user info. Two
kinds of text are redacted: the secrets of the connections that this process has used, in all encodings in which they are sent,
and every text that has the shape of a credential (:mod:`~airflow_slo_provider.core.secret_shapes`).

Callers need not redact: typed errors and check results redact their own texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from heapq import merge
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from airflow_slo_provider.core import secret_shapes as shapes

#: Maximum length of a quoted text of a server.
LIMIT = 500
#: Characters of a server's text that are scanned; text after them is never quoted.
_SCANNED = 20_000
#: A shorter secret would redact parts of unrelated words.
MIN_LENGTH = 4
#: Maximum number of remembered secrets: more than the connections of any process, and few enough for a triggerer that runs for
#: months.
_MAX_SECRETS = 1_000
_SECRET_NAME = re.compile(r"auth|token|key|secret|cookie|passw|credential|session", re.IGNORECASE)
_SCHEMES = ("bearer ", "basic ", "token ", "apikey ")
#: Secrets of the connections that this process has used, oldest first, and their encoded forms, longest first.
_secrets: dict[str, None] = {}
_secret_forms: list[str] = []


def remember(*secrets: str) -> None:
    """Redact these texts in every later message of this process; the oldest are forgotten when there are too many.

    :param secrets: e.g. a token that a server issued; texts of less than four characters are ignored
    """
    global _secrets, _secret_forms
    new = [secret for secret in secrets if len(secret) >= MIN_LENGTH and secret not in _secrets]
    if new:
        kept = dict.fromkeys([*_secrets, *new][-_MAX_SECRETS:])
        # Built first and then assigned: another thread may be using the old forms.
        if len(kept) == len(_secrets) + len(new):
            _secret_forms = list(dict.fromkeys(merge(_secret_forms, _sorted_forms(new), key=_longest_first)))
        else:
            _secret_forms = _sorted_forms(kept)
        _secrets = kept


def forget() -> None:
    """Remove all remembered secrets, so that one test does not affect another."""
    global _secrets, _secret_forms
    _secrets, _secret_forms = {}, []


def public_url(url: str) -> str:
    """Return a URL, or a reference relative to one, without user info, query and fragment, for messages."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    if not parts.netloc:
        return parts.path
    scheme = f"{parts.scheme}:" if parts.scheme else ""
    return f"{scheme}//{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")


def user_info(url: str) -> tuple[str, str] | None:
    """Return the login and the password in a URL; None if it holds none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return (unquote(parts.username), unquote(parts.password or "")) if parts.username else None


def collect_secrets(
    *, url: str = "", basic: tuple[str, str] | None = None, bearer: str | None = None, named: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the secret texts of a connection, longest first, and remember them for redaction.

    :param url: a URL; its user info is secret
    :param basic: login and password
    :param bearer: a token
    :param named: headers or parameters; those with the name of a secret are secret
    """
    import base64

    found = [bearer or ""]
    for login, password in filter(None, (basic, user_info(url) if url else None)):
        found.append(password)
        if len(password) >= MIN_LENGTH:
            # requests writes the header in Latin-1, httpx in UTF-8.
            pairs = (f"{login}:{password}".encode(code, "replace") for code in ("utf-8", "latin-1"))
            found += [base64.b64encode(pair).decode() for pair in pairs]
    for name, text in (named or {}).items():
        if _SECRET_NAME.search(name):
            found.append(text)
            found += [text[len(scheme) :] for scheme in _SCHEMES if text.lower().startswith(scheme)]
    secrets = tuple(sorted({text for text in found if len(text) >= MIN_LENGTH}, key=_longest_first))
    remember(*secrets)
    return secrets


def redact(text: str, secrets: Iterable[str] = (), *, limit: int | None = LIMIT) -> str:
    """Redact a text from outside: known secrets, user info in URLs, and texts that look like a credential.

    :param secrets: additional secrets that are not remembered
    :param limit: maximum length of the text after the redaction; None for no limit
    :param text: the text
    """
    text = _replace_forms(text, _sorted_forms(secret for secret in secrets if secret))
    text = shapes.blank(_replace_forms(text, _secret_forms))
    return text if limit is None or len(text) <= limit else text[:limit] + "..."


def server_text(answer: object, *, limit: int = LIMIT) -> str:
    """Return the text of a server or a driver as one redacted line that may be shown, logged and stored.

    :param answer: the body of an answer (bytes or text), a warning, or an exception of a library
    :param limit: maximum length after the redaction
    """
    text = (
        bytes(answer[:_SCANNED]).decode("utf-8", "replace") if isinstance(answer, bytes | bytearray) else str(answer)[:_SCANNED]
    )
    return redact(" ".join(text.split()), limit=limit)


def redact_value(value: Any) -> Any:
    """Redact every text in a JSON-serialisable value, and all values of keys that are named like a secret."""
    if isinstance(value, str):
        return redact(value, limit=None)
    if isinstance(value, Mapping):
        return {key: _redact_member(str(key), member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        members = [redact_value(member) for member in value]
        return tuple(members) if type(value) is tuple else members
    return value


def _redact_member(name: str, value: Any) -> Any:
    if isinstance(value, str) and len(value) >= MIN_LENGTH and shapes.is_secret_name(name):
        return shapes.BLANK
    return redact_value(value)


def _sorted_forms(secrets: Iterable[str]) -> list[str]:
    """Return all forms of the secrets, longest first, because a secret may be a part of another."""
    return sorted({form for secret in secrets for form in _encoded_forms(secret)}, key=_longest_first)


def _longest_first(form: str) -> tuple[int, str]:
    return -len(form), form


def _replace_forms(text: str, forms: Sequence[str]) -> str:
    for form in forms:
        if form in text:
            text = text.replace(form, shapes.BLANK)
    return text


def _encoded_forms(secret: str) -> set[str]:
    """Return a secret with its encodings: URL, JSON, HTML, and UTF-8 that was decoded as Latin-1."""
    import html

    forms: set[str] = set()
    for text in {secret, secret.encode("utf-8", "replace").decode("latin-1")}:
        forms |= {text, quote(text, safe=""), quote(text), quote_plus(text), html.escape(text)}
        forms |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    return forms
