"""Configure the connection to a Prometheus server, for the blocking and the asynchronous client."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_slo_provider.core.redaction import collect_secrets
from airflow_slo_provider.http.settings import HttpSettings


@dataclass(frozen=True, kw_only=True)
class Settings(HttpSettings):
    """Settings of a Prometheus server; all others are those of :class:`~airflow_slo_provider.http.settings.HttpSettings`.

    :param params: parameters of every API request, e.g. a tenant or ``dedup``
    :param method: ``POST``, or ``GET`` for servers and proxies that do not accept POST
    """

    params: Mapping[str, str] | None = field(default=None, repr=False)
    method: str = "POST"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in ("POST", "GET"):
            raise ValueError(f"method {self.method!r} is neither POST nor GET")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Secrets that must not appear in a message."""
        named = {**(self.headers or {}), **(self.params or {})}
        return collect_secrets(url=self.url, basic=self.basic, bearer=self.bearer, named=named)

    @property
    def server_params(self) -> dict[str, str]:
        """Return the parameters of every API request, including the time after which the server may stop computing."""
        return {"timeout": f"{math.ceil(self.timeout[1])}s", **(self.params or {})}
