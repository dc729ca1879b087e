"""The parameters of everything that asks how old something is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_slo_provider.freshness.limits import CLOCK_TOLERANCE, check_limits, share_of
from airflow_slo_provider.links.slo import SLOLink
from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.freshness.source_parameters import PARAMETERS, Question, question
from airflow_slo_provider.runtime.required_parameters import given

if TYPE_CHECKING:
    from airflow_slo_provider.freshness import Limits

#: Fields of which an empty text means what it means not to give them.
MAY_BE_EMPTY = ("conn_id", "group_by", "timezone")


class FreshnessFields(TextFields):
    """An operator with limits and a source. Whoever inherits it sets what names the source before it calls ``__init__``.

    :param max_age: the oldest that is accepted
    :param warn_age: the oldest that is accepted without a warning
    :param quantile: the share of the groups that must be fresh, where there are groups; all by default
    :param clock_tolerance: how far a timestamp may lie in the future
    :param conn_id: the connection. (templated)
    :param name: name of the check in the ledger; made of the source by default, e.g. ``dag:orders``. (templated)
    :raises ValueError: for limits or a combination of parameters that cannot be meant
    """

    #: Of all sources; a sensor has some of them.
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
        self.max_age = max_age
        self.warn_age = warn_age
        self.quantile = quantile
        self.clock_tolerance = clock_tolerance
        self.conn_id = conn_id
        self.name = name
        self._given = given(self, *(field for field in self.template_fields if field != "name"))
        check_limits(max_age, warn_age, clock_tolerance)
        share_of(quantile)
        self.question()

    def question(self) -> Question:
        """What to ask, by the parameters as they are now.

        :raises BadQuestion: (a ValueError) for a combination that cannot be meant
        """
        return question({name: value for name, value in vars(self).items() if name in PARAMETERS})

    def limits(self) -> Limits:
        """What is fresh enough."""
        from airflow_slo_provider.freshness import Limits

        return Limits(self.max_age, self.warn_age, self.quantile, self.clock_tolerance)

    def check_name(self) -> str:
        """Name of the check in the ledger."""
        return self.name or self.question().default_name() or f"{self.dag_id}.{self.task_id}"
