"""Template fields that are always rendered as text, also in DAGs with native rendering."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class TextFields(BaseOperator):
    """Base class of operators with template fields that must be text.

    With ``render_template_as_native_obj=True`` Airflow converts the rendered text ``3.10`` to the number 3.1, which is another
    version. The fields named here are rendered as text. Values from XComs are converted to text by
    :func:`airflow_slo_provider.runtime.required_parameters.require`, which every ``execute`` calls first.
    """

    #: Names of fields that hold one text.
    text_fields: ClassVar[frozenset[str]] = frozenset()
    #: Names of fields that hold one text or a list of texts.
    list_fields: ClassVar[frozenset[str]] = frozenset()
    #: Names of fields that hold a mapping of names to texts.
    mapping_fields: ClassVar[frozenset[str]] = frozenset()
    #: Names of fields that hold paths of documents, or the documents themselves.
    path_fields: ClassVar[frozenset[str]] = frozenset()

    def render_template(self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None) -> Any:
        """Render everything except the text of documents, where ``{{.window}}`` belongs to the query and not to Airflow."""
        if self.path_fields and isinstance(content, str) and "\n" in content:
            return content
        return super().render_template(content, context, jinja_env, seen_oids)

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        """Render the template fields, text fields as text.

        Airflow calls this method for mapped tasks too, unlike ``render_template_fields``.
        """
        names = list(template_fields)
        dag = self.get_dag()
        native = self.render_template_as_native_obj
        texts = [name for name in names if parent is self and self._is_text(name)]
        if not texts or dag is None or not (dag.render_template_as_native_obj if native is None else native):
            super()._do_render_template_fields(parent, names, context, jinja_env, seen_oids)
            return
        templates = {name: getattr(self, name) for name in texts}
        self.render_template_as_native_obj = False
        try:
            env = dag.get_template_env(force_sandboxed=True)
            super()._do_render_template_fields(parent, texts, context, env, seen_oids)
        finally:
            self.render_template_as_native_obj = native
        lists = [name for name in texts if name not in self.text_fields and _is_a_list(getattr(self, name))]
        for name in lists:
            setattr(self, name, templates[name])
        rest = [name for name in names if name not in texts or name in lists]
        super()._do_render_template_fields(parent, rest, context, jinja_env, seen_oids)

    def _is_text(self, name: str) -> bool:
        """Return whether a field holds text templates, and not a template of a whole mapping or an XCom."""
        value = getattr(self, name, None)
        if name in self.text_fields:
            return isinstance(value, str)
        if name in self.list_fields:
            return isinstance(value, str) or (isinstance(value, list | tuple) and all(isinstance(text, str) for text in value))
        if name in self.mapping_fields:
            return isinstance(value, Mapping) and all(isinstance(text, str) for text in value.values())
        return False


def _is_a_list(value: Any) -> bool:
    """Return whether the value of a field for several texts is the text of a list."""
    return isinstance(value, str) and value.strip()[:1] in ("[", "(", "{")
