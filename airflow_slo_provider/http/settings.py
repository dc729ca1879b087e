"""Configure the connection to a server: address, credentials, TLS and limits, for all HTTP clients of this provider.

Credentials come only from these settings: ``.netrc`` is ignored, because it could add a password that nobody configured.
Proxies are those of the environment (``HTTP_PROXY``, ``HTTPS_PROXY``, ``NO_PROXY``).
"""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from airflow_slo_provider.core.redaction import collect_secrets, public_url, user_info
from airflow_slo_provider.exceptions import QueryError

#: Environment variables that name a CA file, in order of precedence; ``certifi`` is used otherwise.
_AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """Address, credentials, TLS and limits of a server, for the blocking and the asynchronous client.

    :param url: base URL, with a path prefix if there is one
    :param headers: headers of every request, e.g. a tenant
    :param basic: login and password; those in the URL by default
    :param bearer: a bearer token
    :param verify: whether certificates are verified, or the path of a CA file
    :param cert: path of a client certificate, or (certificate, key)
    :param timeout: connect timeout and read timeout in seconds; their sum is the longest that the beginning of an answer may
        take
    :param max_seconds: seconds that an answer may take from its first byte to its last. None: the whole exchange, from
        connecting to the last byte, takes at most the two timeouts together.
    :param max_bytes: maximum size of an answer after decompression
    :param retries: number of quick retries after transient faults
    :raises ValueError: for a URL that is not http or https, or a limit that is not a positive number
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    timeout: tuple[float, float] = (5.0, 60.0)
    max_seconds: float | None = 120.0
    max_bytes: int = 256 * 1024 * 1024
    retries: int = 2

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port beyond 65535, or an invalid IPv6 address
            usable = False
        if not usable:
            raise ValueError(f"{public_url(self.url)!r} is not the URL of a server: write http:// or https:// and a host")
        limits = (*self.timeout, *(() if self.max_seconds is None else (self.max_seconds,)))
        if any(not math.isfinite(seconds) or seconds <= 0 for seconds in limits):
            raise ValueError("every timeout must be a positive number of seconds")
        _ = self.secrets  # registers the secrets, so that every later message redacts them

    @property
    def address(self) -> str:
        """The server's URL, without user info and without a trailing slash."""
        return public_url(self.url).rstrip("/")

    @property
    def login(self) -> tuple[str, str] | None:
        """Login and password of the settings, or those in the URL. None if a token is sent."""
        return None if self.bearer else self.basic or user_info(self.url)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Secrets that must not appear in a message."""
        return collect_secrets(url=self.url, basic=self.basic, bearer=self.bearer, named=self.headers)

    @property
    def authorities(self) -> str | bool:
        """The CA file or directory that certificates are verified against; False if they are not verified."""
        if self.verify is not True:
            return self.verify
        import certifi

        return next((os.environ[name] for name in _AUTHORITIES if os.environ.get(name)), certifi.where())

    def tls_context(self) -> ssl.SSLContext:
        """Create the TLS context; an empty one for a server without TLS. It reads files, so do not call it in an event loop.

        :raises QueryError: reason ``tls``, for a certificate file that is missing or cannot be used
        """
        authorities, cert = self.authorities, self.cert if isinstance(self.cert, tuple) else (self.cert, None)
        files = {"CA (verify)": authorities or None, "client certificate": cert[0], "client key": cert[1]}
        for what, path in files.items():
            if path and not os.path.exists(str(path)):
                raise QueryError(f"the {what} file {path} does not exist on this machine", reason="tls", source=self.address)
        if not self.url.lower().startswith("https://"):
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if not authorities:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            elif os.path.isdir(str(authorities)):
                context = ssl.create_default_context(capath=str(authorities))
            else:
                context = ssl.create_default_context(cafile=str(authorities))
            if cert[0]:
                context.load_cert_chain(cert[0], cert[1])
        except (ssl.SSLError, OSError) as error:
            raise QueryError(f"TLS cannot be set up: {error}", reason="tls", source=self.address) from None
        return context

    def all_headers(self) -> dict[str, str]:
        """Return the headers of every request. ``Accept-Encoding`` lists the encodings that :mod:`.bodies` can decode."""
        from airflow_slo_provider.http.caches import NO_CACHE

        headers = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate", **NO_CACHE, **(self.headers or {})}
        if self.bearer:
            headers["Authorization"] = f"Bearer {self.bearer}"
        return headers
