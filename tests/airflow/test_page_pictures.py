"""The README's pictures of the SLO pages: made of the pages as they are, and nothing in them acts or leads anywhere."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.airflow.page_pictures import PICTURES, PROMISES, SHOTS, pictures


def visible_text(text: str) -> str:
    """Check that a picture is one, and return what can be read in it."""
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    for element in root.iter():
        assert not element.tag.endswith(("}script", "}link", "}image", "}use")), element.tag
        assert not [name for name in element.attrib if name.startswith("on") or name.endswith(("href", "src"))]
    assert "url(" not in text
    assert "<style>" in text
    return " ".join("".join(root.itertext()).split())


@pytest.fixture(scope="module")
def generated_pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return dict(pictures(tmp_path_factory.mktemp("pictures")))


def test_pictures_match_pages(generated_pictures: dict[str, str]) -> None:
    overview, slo = (visible_text(generated_pictures[name]) for name, *_ in SHOTS)
    assert "Service level objectives" in overview
    for name, *_ in PROMISES:
        assert name in overview
    assert "the error budget is spent" in slo
    assert "champion of prices is version 6" in slo


@pytest.mark.parametrize("name", [shot[0] for shot in SHOTS])
def test_readme_pictures_show_slos(name: str) -> None:
    text = (PICTURES / name).read_text()
    assert "prices-answered" in visible_text(text)
    assert len(text) < 100_000
