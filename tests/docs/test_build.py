"""The documentation builds without a warning, in its own environment: see ``docs`` in tests/peers.py."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import DOCS
from tests.docs.public import public_classes, public_names
from tests.peers import PROGRAMS, peer
from tests.support import REPO


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the pages as HTML. Broken links, pages outside of the navigation and invalid docstrings are errors."""
    programs, out = peer("docs"), tmp_path_factory.mktemp("docs")
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    command = [
        programs / "python",
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        "-d",
        out / "trees",
        DOCS,
        out / "html",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=env, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "html"


def test_build_contains_every_page(built: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md") if "_build" not in path.parts}
    assert pages <= {path.relative_to(built) for path in built.rglob("*.html")}


@pytest.mark.parametrize("name", public_names())
def test_built_reference_shows_parameters(built: Path, name: str) -> None:
    page = (built / "reference" / "operators.html").read_text()
    entry = re.search(
        rf'<dt class="sig[^>]*?id="[\w.]+\.{name}">(.*?)</dt>(.*?)(?=<dt class="sig sig-object py"[^>]*id=|\Z)', page, re.DOTALL
    )
    assert entry, f"{name} is not in docs/reference/operators.md"
    described = re.findall(r":param (\w+):", public_classes()[name].__doc__ or "")
    assert [one for one in described if f"<strong>{one}</strong>" not in entry[2]] == []


def test_build_tools_are_an_extra() -> None:
    import tomllib

    extras = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert sorted(re.split(r"[>=]", one)[0] for one in extras["docs"]) == sorted(
        one.partition("==")[0] for one in PROGRAMS["docs"]
    )
