"""Parameters shared by the freshness operator and the freshness sensors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_slo_provider.freshness.limits import CLOCK_TOLERANCE, check_limits, read_quantile
from airflow_slo_provider.links.slo import SLOLink
from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.freshness.source_parameters import PARAMETERS, FreshnessSource, read_source
from airflow_slo_provider.runtime.required_parameters import set_in_dag

if TYPE_CHECKING:
    from airflow_slo_provider.freshness import Limits

#: Parameters for which an empty text means "not set".
MAY_BE_EMPTY = ("conn_id", "group_by", "timezone")


class FreshnessFields(TextFields):
    """Base class of operators with a source and freshness limits.

    A subclass sets the parameters of its sources before it calls ``__init__``.

    :param max_age: the maximum age
    :param warn_age: the maximum age without a warning; no warning by default
    :param quantile: the share of the groups that must be fresh, if there are groups; all by default
    :param clock_tolerance: how far a timestamp may lie in the future
    :param conn_id: the Airflow connection. (templated)
    :param name: name of the check in the ledger; by default it is made from the source, e.g. ``dag:orders``. (templated)
    :raises ValueError: for invalid limits or an invalid combination of parameters
    """

    #: Text fields of all sources; a sensor has only some of them.
    text_fields = frozenset(
        {"external_dag_id", "external_task_id", "table", "timestamp_column", "query", "path", "project", "model", "alias"}
        | {"promotion_tag", "deployment", "timezone", "conn_id", "name"}
    )
    template_ext: Sequence[str] = (".sql", ".promql")
    template_fields_renderers: ClassVar[dict[str, str]] = {"query": "sql"}
    operator_extra_links = (SLOLink(),)

    def __init__(
        self,
        *,
        max_age: timedelta,
        warn_age: timedelta | None = None,
        quantile: float | str | None = None,
        clock_tolerance: timedelta = CLOCK_TOLERANCE,
        conn_id: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_age, self.warn_age, self.quantile, self.clock_tolerance = max_age, warn_age, quantile, clock_tolerance
        self.conn_id, self.name = conn_id, name
        self._set_in_dag = set_in_dag(self, *(field for field in self.template_fields if field != "name"))
        check_limits(max_age, warn_age, clock_tolerance)
        read_quantile(quantile)
        self.question()

    def question(self) -> FreshnessSource:
        """Return the source that the current parameters name.

        :raises SourceParameterError: (a ValueError) for an invalid combination of parameters
        """
        return read_source({name: value for name, value in vars(self).items() if name in PARAMETERS})

    def limits(self) -> Limits:
        """Return the freshness limits."""
        from airflow_slo_provider.freshness import Limits

        return Limits(self.max_age, self.warn_age, self.quantile, self.clock_tolerance)

    def check_name(self) -> str:
        """Return the name of the check in the ledger."""
        return self.name or self.question().default_name() or f"{self.dag_id}.{self.task_id}"
