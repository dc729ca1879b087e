"""Where documents may come from, and every way a file can fail to be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airflow_slo_provider.exceptions import DocumentError
from airflow_slo_provider.slo.documents import document_files as loading
from airflow_slo_provider.slo.documents.document_files import load, read
from tests.unit.slo.documents import POLICY_TEXT, SERVICE_TEXT, SLO_TEXT, changed, joined

WHOLE = joined(SLO_TEXT, SERVICE_TEXT)


def refused(source: loading.Source) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        load(source)
    assert str(caught.value) == "\n".join(map(str, caught.value.faults))
    reading = read(source)
    assert reading.catalog is None
    assert reading.faults == list(caught.value.faults)
    return [str(fault) for fault in caught.value.faults]


def test_load_text_returns_catalog() -> None:
    assert [one.name for one in load(WHOLE)] == ["checkout"]
    assert load(WHOLE).slos[0].location.file == "<text>"


@pytest.mark.parametrize("kind", [str, Path])
def test_load_file_returns_catalog(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "with a space.yaml"
    path.write_text(WHOLE)
    catalog = load(kind(path))
    assert catalog.slos[0].location.file == str(path)
    assert catalog.slos[0].location.line == 1


def test_load_named_file_with_any_suffix_is_read(tmp_path: Path) -> None:
    path = tmp_path / "slo.json"
    path.write_text('{"apiVersion": "openslo/v1", "kind": "Service", "metadata": {"name": "shop"}}')
    assert list(load(path).services) == ["shop"]


def test_load_directory_reads_recursively_in_order(tmp_path: Path) -> None:
    for number, name in enumerate(["b.yaml", "a/z.yml", "a/b/c.YAML"]):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(changed(SLO_TEXT, "checkout", f"slo-{number}"))
    (tmp_path / "service.yaml").write_text(SERVICE_TEXT)
    (tmp_path / "notes.txt").write_text("not: [yaml")
    (tmp_path / ".hidden.yaml").write_text("not: [yaml")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.yaml").write_text("not: [yaml")
    assert [one.name for one in load(tmp_path)] == ["slo-2", "slo-1", "slo-0"]
    assert load(str(tmp_path)) == load(tmp_path)


def test_load_config_map_mount_reads_files_once(tmp_path: Path) -> None:
    """Kubernetes mounts files as links into a hidden directory."""
    data = tmp_path / "..2026_11_24"
    data.mkdir()
    (data / "slo.yaml").write_text(WHOLE)
    (tmp_path / "..data").symlink_to("..2026_11_24")
    (tmp_path / "slo.yaml").symlink_to("..data/slo.yaml")
    assert [one.name for one in load(tmp_path)] == ["checkout"]


def test_load_several_paths_returns_one_catalog(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "gate.yaml").write_text(POLICY_TEXT)
    (tmp_path / "slo.yaml").write_text(WHOLE)
    catalog = load([tmp_path / "slo.yaml", str(tmp_path / "policies")])
    assert len(catalog) == 1
    assert list(catalog.policies) == ["gate"]
    assert load((tmp_path / "slo.yaml",)).slos == load(tmp_path / "slo.yaml").slos


def test_load_documents_without_slos_returns_catalog() -> None:
    assert len(load(POLICY_TEXT)) == 0


def test_load_utf8_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "slo.yaml").write_bytes(b"\xef\xbb\xbf" + WHOLE.encode())
    assert len(load(tmp_path)) == 1


@pytest.mark.parametrize(
    "name", ["slos/checkout.yaml", "no such directory", "checkout", "/nonexistent/slo.yml", "C:\\slos", "x\0y"]
)
def test_load_missing_file_is_an_error(name: str) -> None:
    (fault,) = refused(name)
    assert "no such file" in fault or "null byte" in fault
    assert name.replace("\0", "") in fault.replace("\0", "")


def test_load_missing_paths_are_errors(tmp_path: Path) -> None:
    assert refused(tmp_path / "gone.yaml") == [f"{tmp_path}/gone.yaml: there is no such file or directory"]
    assert refused([tmp_path / "a", tmp_path / "b"]) == [
        f"{tmp_path}/a: there is no such file or directory",
        f"{tmp_path}/b: there is no such file or directory",
    ]


@pytest.mark.parametrize("text", ["", "  ", "\n", "---\n", "# a comment\n", "---\n...\n---\n", "\ufeff\n"])
def test_load_empty_source_is_an_error(text: str, tmp_path: Path) -> None:
    assert any(words in refused(text)[0] for words in ("is empty", "holds no document"))
    path = tmp_path / "empty.yaml"
    path.write_text(text)
    assert refused(path) == [f"{path}: holds no document"]


@pytest.mark.parametrize("text", ["[]", "---\n[]\n", "- \n- ~\n", "{}", "null\n", "[[]]"])
def test_load_value_of_other_type_raises_type_error(text: str) -> None:
    assert refused(text)


def test_load_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "slo.yaml").write_text(WHOLE)
    (tmp_path / "empty.yaml").touch()
    assert refused(tmp_path) == [f"{tmp_path}/empty.yaml: holds no document"]


def test_load_directory_without_documents_is_an_error(tmp_path: Path) -> None:
    assert refused(tmp_path) == [f"{tmp_path}: no *.yaml or *.yml file is in this directory or below it"]
    assert refused([]) == ["<no files>: no path is set, so there is no document"]


def test_load_file_not_utf8_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"apiVersion: openslo/v1\nkind: Servi\xe7e\n")
    assert refused(path) == [f"{path}:2: is not UTF-8: byte 0xe7 at position 34; save it as UTF-8"]
    path.write_bytes(WHOLE.encode("utf-16"))
    assert "is not UTF-8" in refused(path)[0]


def test_load_too_large_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "dump.yaml"
    path.write_bytes(b"#" * (loading.MAX_BYTES + 1))
    (fault,) = refused(path)
    assert "is larger than 4 MiB (4,194,305 bytes)" in fault
    assert "is larger than 4 MiB" in refused("#\n" * loading.MAX_BYTES)[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_load_unreadable_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text(WHOLE)
    path.chmod(0)
    assert refused(tmp_path) == [f"{path}: cannot be read: Permission denied"]


def test_load_file_system_error_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "slo.yaml"
    path.write_text(WHOLE)

    def denied(self: Path, *args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert refused(tmp_path) == [f"{path}: cannot be read: Permission denied"]


def test_load_named_pipe_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert refused(tmp_path) == [f"{tmp_path}/pipe.yaml: is not a regular file"]


def test_load_circular_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("b.yaml")
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    found = refused(tmp_path)
    assert [fault.partition(": ")[0] for fault in found] == [f"{tmp_path}/a.yaml", f"{tmp_path}/b.yaml"]
    assert all("Too many levels of symbolic links" in fault for fault in found)


def test_load_link_to_own_parent_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "slo.yaml").write_text(WHOLE)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "up").symlink_to(tmp_path)
    assert refused(tmp_path) == [f"{tmp_path}/below/up: is a symbolic link to a directory that contains it; remove it"]


def test_load_dangling_link_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "slo.yaml").symlink_to("gone.yaml")
    assert refused(tmp_path) == [f"{tmp_path}/slo.yaml: there is no such file or directory"]
    assert refused(str(tmp_path / "slo.yaml")) == [f"{tmp_path}/slo.yaml: there is no such file or directory"]


def test_load_reports_errors_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_text(changed(SLO_TEXT, "0.999", "1"))
    (tmp_path / "2.yaml").write_text("a: [\n")
    (tmp_path / "3.yaml").write_text(changed(POLICY_TEXT, "freeze", "thaw"))
    found = refused(tmp_path)
    assert [fault.partition(":")[0] for fault in found] == [f"{tmp_path}/{number}.yaml" for number in (1, 2, 3)]
    assert "2.yaml:2: not YAML: " in found[1]


def test_load_same_slo_in_two_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_text(WHOLE)
    (tmp_path / "2.yaml").write_text("\n" + SLO_TEXT)
    assert refused(tmp_path) == [
        f"{tmp_path}/2.yaml:2: SLO/checkout metadata.name: two SLOs of the service 'shop' are named 'checkout'; "
        f"the first is in {tmp_path}/1.yaml:1"
    ]


def test_load_keeps_warnings(tmp_path: Path) -> None:
    reading = read(SLO_TEXT)
    assert reading.catalog is not None
    assert list(reading.catalog.warnings) == reading.warnings
    assert [fault.path for fault in reading.warnings] == ["spec.service"]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_read_any_text_returns_catalog_or_errors(text: str) -> None:
    assume("\0" in text or not os.path.isdir(text))  # "/" is a directory, and all of this machine is below it
    reading = read(text)
    assert (reading.catalog is None) == bool(reading.faults)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_read_damaged_document_returns_catalog_or_errors(data: st.DataObject) -> None:
    """Cut, repeat and replace pieces of real documents: whatever comes out, no other exception does."""
    text = joined(WHOLE, POLICY_TEXT)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        piece = data.draw(
            st.sampled_from(
                [
                    "",
                    " ",
                    ":",
                    "\n",
                    "- ",
                    "{",
                    "]",
                    "&a ",
                    "*a",
                    "null",
                    "0",
                    "1e999",
                    "!!x ",
                    "'",
                    "<<: ",
                    "\x00",
                    "é",
                    "|\n",
                    text[start:end] * 2,
                ]
            )
        )
        text = text[:start] + piece + text[end:]
    reading = read(text + "\n#")
    assert (reading.catalog is None) == bool(reading.faults)
