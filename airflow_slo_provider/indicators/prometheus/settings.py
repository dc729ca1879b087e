"""How a Prometheus server is reached; shared by the blocking and the asynchronous client."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_slo_provider.core.redaction import secrets_of
from airflow_slo_provider.http.settings import HttpSettings


@dataclass(frozen=True, kw_only=True)
class Settings(HttpSettings):
    """How to reach a server; see :class:`~airflow_slo_provider.http.settings.HttpSettings` for all else.

    :param params: sent with every API request, e.g. a tenant or ``dedup``
    :param method: ``POST``, or ``GET`` for servers and proxies that know nothing else
    """

    params: Mapping[str, str] | None = field(default=None, repr=False)
    method: str = "POST"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in ("POST", "GET"):
            raise ValueError(f"method {self.method!r} is neither POST nor GET")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must not appear in a message."""
        named = {**(self.headers or {}), **(self.params or {})}
        return secrets_of(url=self.url, basic=self.basic, bearer=self.bearer, named=named)

    @property
    def server_params(self) -> dict[str, str]:
        """Parameters of every API request: the given ones, and the time after which the server may stop computing."""
        return {"timeout": f"{math.ceil(self.timeout[1])}s", **(self.params or {})}
