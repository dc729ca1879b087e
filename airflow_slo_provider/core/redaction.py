"""Keeping credentials out of texts: of addresses that are shown, and of what a server or a driver says.

A server that refuses may quote the request it was sent, its headers included; a library's error quotes the address, user info
and all. Two things are blanked out of every such text: the secrets of the connections that this process has used, in the forms
they travel in, and what has the shape of a credential, whoever it belongs to (:mod:`~airflow_slo_provider.core.secret_shapes`).

Nobody has to remember it: typed errors and check results redact what they are made of.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from heapq import merge
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from airflow_slo_provider.core import secret_shapes as shapes

#: Longest text of a server's that is quoted.
LIMIT = 500
#: Characters of a server's text that are looked at; what is behind them is never quoted.
_READ = 20_000
#: A secret of fewer characters would blank out parts of words that have nothing to do with it.
LEAST = 4
#: Secrets that are remembered: more than the connections of any process, and few enough for a triggerer that runs for months.
_MOST = 1_000
_SECRET_NAME = re.compile(r"auth|token|key|secret|cookie|passw|credential|session", re.IGNORECASE)
_SCHEMES = ("bearer ", "basic ", "token ", "apikey ")


class _Known:
    """The secrets of the connections that this process has used, and their forms, the longest first."""

    def __init__(self) -> None:
        self._secrets: dict[str, None] = {}
        self._forms: list[str] = []

    def add(self, secrets: Iterable[str]) -> None:
        """Remember secrets; the oldest are forgotten when there are too many."""
        new = [secret for secret in secrets if len(secret) >= LEAST and secret not in self._secrets]
        if not new:
            return
        kept = dict.fromkeys([*self._secrets, *new][-_MOST:])
        # Made anew and then put in place: another thread may be blanking with the old ones.
        fresh = _ordered(new) if len(kept) == len(self._secrets) + len(new) else None
        self._forms = _ordered(kept) if fresh is None else list(dict.fromkeys(merge(self._forms, fresh, key=_longest_first)))
        self._secrets = kept

    def blank(self, text: str) -> str:
        """Replace every remembered secret."""
        return _replaced(text, self._forms)

    def forget(self) -> None:
        """Forget them all."""
        self._secrets, self._forms = {}, []


_KNOWN = _Known()


def remember(*secrets: str) -> None:
    """Blank these texts out of all that is said from now on in this process.

    :param secrets: e.g. a token that a server gave; texts of less than four characters are not looked for
    """
    _KNOWN.add(secrets)


def forget() -> None:
    """Forget what was remembered, so that one test does not change another."""
    _KNOWN.forget()


def public_url(url: str) -> str:
    """Return an address without user info, query and fragment, as it may appear in messages."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")


def user_info(url: str) -> tuple[str, str] | None:
    """Return login and password that are written into an address; None where there are none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return (unquote(parts.username), unquote(parts.password or "")) if parts.username else None


def secrets_of(
    *,
    url: str = "",
    basic: tuple[str, str] | None = None,
    bearer: str | None = None,
    named: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Return the texts that must not be shown, longest first, and remember them.

    :param url: an address; its user info is secret
    :param basic: login and password
    :param bearer: a token
    :param named: headers or parameters; those are secret whose names say so
    """
    import base64

    found = [bearer or ""]
    for login, password in filter(None, (basic, user_info(url) if url else None)):
        found.append(password)
        if len(password) >= LEAST:
            # requests writes the header in Latin-1, httpx in UTF-8.
            pair = f"{login}:{password}"
            found += [base64.b64encode(pair.encode(code, "replace")).decode() for code in ("utf-8", "latin-1")]
    for name, text in (named or {}).items():
        if _SECRET_NAME.search(name):
            found.append(text)
            found += [text[len(scheme) :] for scheme in _SCHEMES if text.lower().startswith(scheme)]
    secrets = tuple(sorted({text for text in found if len(text) >= LEAST}, key=lambda text: (-len(text), text)))
    remember(*secrets)
    return secrets


def redact(text: str, secrets: Iterable[str] = (), *, limit: int | None = LIMIT) -> str:
    """Blank secrets out of a text that somebody else wrote: known ones, user info of addresses, and what looks like one.

    :param secrets: texts that are secret and were not remembered
    :param limit: the text is cut to so many characters, after the blanking; None for all of it
    """
    text = _replaced(text, _ordered(secret for secret in secrets if secret))
    text = shapes.blank(_KNOWN.blank(text))
    return text if limit is None or len(text) <= limit else text[:limit] + "..."


def server_text(said: object, *, limit: int = LIMIT) -> str:
    """Return what a server or a driver said as one line that may be shown, logged and stored.

    :param said: the body of an answer (bytes or text), a warning, or an exception of a library
    :param limit: characters that are kept, after the blanking
    """
    text = bytes(said[:_READ]).decode("utf-8", "replace") if isinstance(said, bytes | bytearray) else str(said)[:_READ]
    return redact(" ".join(text.split()), limit=limit)


def redacted(value: Any) -> Any:
    """Return a JSON-able value with every text in it redacted, and the values of keys that are named like a secret blanked."""
    if isinstance(value, str):
        return redact(value, limit=None)
    if isinstance(value, Mapping):
        return {key: _member(str(key), one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([redacted(one) for one in value]) if type(value) in (list, tuple) else [redacted(one) for one in value]
    return value


def _member(name: str, value: Any) -> Any:
    if isinstance(value, str) and len(value) >= LEAST and shapes.is_secret_name(name):
        return shapes.BLANK
    return redacted(value)


def _ordered(secrets: Iterable[str]) -> list[str]:
    """Return all forms of secrets, the longest first: a secret may be a part of another."""
    return sorted({form for secret in secrets for form in _forms(secret)}, key=_longest_first)


def _longest_first(form: str) -> tuple[int, str]:
    return -len(form), form


def _replaced(text: str, forms: Sequence[str]) -> str:
    for form in forms:
        if form in text:
            text = text.replace(form, shapes.BLANK)
    return text


def _forms(secret: str) -> set[str]:
    """A secret as it is, and as URLs, JSON, HTML and a server that takes UTF-8 for Latin-1 write it."""
    import html

    forms: set[str] = set()
    for text in {secret, secret.encode("utf-8", "replace").decode("latin-1")}:
        forms |= {text, quote(text, safe=""), quote(text), quote_plus(text), html.escape(text)}
        forms |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    return forms
