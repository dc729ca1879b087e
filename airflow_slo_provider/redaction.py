"""Keeping credentials out of texts: of addresses that are shown, and of what a server or a driver says.

A server that refuses may quote the request it was sent, its headers included; a library's error quotes the address, user info
and all. What is known to be secret is blanked out of every such text, in the forms it travels in.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus, unquote, urlsplit

#: Longest text of a server's that is quoted.
LIMIT = 500
#: A secret of fewer characters would blank out parts of words that have nothing to do with it.
LEAST = 4
_SECRET_NAME = re.compile(r"auth|token|key|secret|cookie|passw|credential|session", re.IGNORECASE)
_SCHEMES = ("bearer ", "basic ", "token ", "apikey ")
_USER_INFO = re.compile(r"(?<=://)[^/?#\s'\"<>]+@")


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
    """Return the texts that must not be shown, longest first.

    :param url: an address; its user info is secret, and parameters that are called so
    :param basic: login and password
    :param bearer: a token
    :param named: headers or parameters; those are secret whose names say so
    """
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
    return tuple(sorted({text for text in found if len(text) >= LEAST}, key=lambda text: (-len(text), text)))


def redact(text: str, secrets: Iterable[str], *, limit: int | None = LIMIT) -> str:
    """Blank secrets, and the user info of any address, out of a text that somebody else wrote.

    :param limit: the text is cut to so many characters, after the blanking; None for all of it
    """
    for secret in secrets:
        if secret:
            for form in _forms(secret):
                text = text.replace(form, "***")
    text = _USER_INFO.sub("***@", text)
    return text if limit is None or len(text) <= limit else text[:limit] + "..."


def _forms(secret: str) -> list[str]:
    """A secret as it is, and as URLs, JSON, HTML and a server that takes UTF-8 for Latin-1 write it; longest first."""
    forms: set[str] = set()
    for text in {secret, secret.encode("utf-8", "replace").decode("latin-1")}:
        forms |= {text, quote(text, safe=""), quote(text), quote_plus(text), html.escape(text)}
        forms |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    return sorted(forms, key=len, reverse=True)
