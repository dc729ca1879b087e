"""The parameters of everything that reads SLO documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.links.slo import SLOLink
from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.required_parameters import given

if TYPE_CHECKING:
    from airflow_slo_provider.runtime.error_budget.decision import Documents
    from airflow_slo_provider.slo.catalog import Selection
    from airflow_slo_provider.slo.model import SLO


class Choice:
    """A function that chooses SLOs, in a templated field: Airflow would call it with a context.

    Rendering gives the function back. Its text is the same in every process, unlike a function's: a DAG whose text changes
    gets a new version each time it is read.
    """

    def __init__(self, choose: Callable[[SLO], bool]) -> None:
        self._choose = choose

    def __repr__(self) -> str:
        named = self._choose if hasattr(self._choose, "__qualname__") else type(self._choose)
        return f"<{named.__module__}.{named.__qualname__}>"

    def resolve(self, context: Any) -> Callable[[SLO], bool]:
        """What Airflow calls to render a field."""
        return self._choose


class DocumentFields(TextFields):
    """An operator with ``slos`` and ``select``.

    :param slos: SLO documents: a path (a relative one: beside the DAG file), a URI, the text itself, or a list. (templated)
    :param select: names of the SLOs to look at, or a function that chooses them; all by default. (templated)
    :raises ValueError: for empty ``slos``
    """

    template_fields: Sequence[str] = ("slos", "select")
    list_fields = frozenset({"select"})
    path_fields = frozenset({"slos"})
    ui_color = "#d7eadb"
    operator_extra_links = (SLOLink(),)

    def __init__(self, *, slos: Documents, select: Selection | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(slos, str | list | tuple) and not slos:
            raise ValueError(f"{self.task_id}: slos is empty; name a file, a directory or write the documents themselves")
        self.slos = slos
        self.select = Choice(select) if callable(select) else select
        self._given = given(self, "slos", "select")

    def render_template(self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None) -> Any:
        """Render everything but documents: ``{{.window}}`` in a query is for the server and no template of Airflow."""
        if isinstance(content, str) and "\n" in content:
            return content
        return super().render_template(content, context, jinja_env, seen_oids)
