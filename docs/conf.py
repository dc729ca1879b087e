"""How the documentation is built: see tests/docs/test_build.py, or CONTRIBUTING.md for the command."""

from __future__ import annotations

import re
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent

project = "airflow-slo-provider"
version = release = re.search(r'__version__ = "(.+?)"', (REPO / "airflow_slo_provider" / "__init__.py").read_text())[1]

extensions = ["myst_parser", "autoapi.extension"]
root_doc = "index"
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
templates_path = []

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# The package is read and never imported: building the documentation needs no Airflow.
autoapi_dirs = [str(REPO / "airflow_slo_provider")]
autoapi_ignore = [f"*/{part}/*" for part in ("cli", "plugins", "indicators", "checks", "links", "stores")]  # not in the reference
autoapi_generate_api_docs = False
autoapi_python_class_content = "class"
autoapi_options = ["members", "show-inheritance"]
add_module_names = False
suppress_warnings = ["autoapi.python_import_resolution"]

linkcheck_timeout = 20
linkcheck_ignore = [r"http://localhost.*", r"https://[\w.-]*\.example/.*"]

#: Pages that join the navigation of index.md once they are there.
OPTIONAL = ("compose", "faults", "security")
_LINK = re.compile(r"\[([^\]]+)\]\((\.\.?/[^)#\s]+)\)")


def setup(app):
    """Let pages link to files of the repository as they do on GitHub."""
    app.connect("source-read", _read)


def _read(app, docname, source):
    here = (Path(app.srcdir) / docname).parent

    def link(found):
        """A Markdown file outside of docs/ is no page here, but a file to look at; a directory is no file."""
        text, target = found.groups()
        there = (here / target).resolve()
        if there.is_relative_to(app.srcdir):
            return found[0]
        return text if there.is_dir() else f"[{text}](<path:{target}>)"

    source[0] = _LINK.sub(link, source[0])
    if docname == root_doc:
        missing = {name for name in OPTIONAL if not (Path(app.srcdir) / f"{name}.md").exists()}
        source[0] = "".join(line for line in source[0].splitlines(keepends=True) if line.strip() not in missing)
