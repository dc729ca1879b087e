"""Serve report files: only those that a check names, and only below the configured directories."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from fastapi import HTTPException

from airflow_slo_provider.plugins.slo_page import safe_evidence
from airflow_slo_provider.plugins.slo_page.responses import REPORT_POLICY
from airflow_slo_provider.runtime.files.object_storage import is_local, object_path

if TYPE_CHECKING:
    from starlette.responses import Response

MAX_BYTES = 20_000_000


def report_response(evidence: Mapping[str, Any], key: str = "") -> Response:
    """Send the report that the evidence of a check names.

    :param evidence: the evidence
    :param key: key of the report in the evidence; by default the first report
    :raises HTTPException: 404 if there is none, 403 if it lies outside of the report roots
    """
    from starlette.responses import Response

    keys = safe_evidence.report_keys(evidence)
    if (key and key not in keys) or not keys:
        raise HTTPException(404, "this check has no such report")
    content, media = read_report(evidence[key or keys[0]], report_roots())
    headers = {"Content-Security-Policy": REPORT_POLICY, "Cache-Control": "private, max-age=60"}
    return Response(content, media_type=media, headers=headers)


def report_roots() -> list[str]:
    """Return the report roots: ``[slo] report_roots``, or ``slo_reports`` in ``AIRFLOW_HOME``."""
    from airflow.sdk import conf

    configured = [part.strip() for part in (conf.get("slo", "report_roots", fallback="") or "").split(",")]
    home = Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser()
    return [part for part in configured if part] or [str(home / "slo_reports")]


def read_report(uri: str, allowed: list[str]) -> tuple[bytes, str]:
    """Read a report.

    :param uri: a path, ``file://`` or any URI that ObjectStoragePath supports
    :param allowed: the report roots
    :return: its bytes and media type
    :raises HTTPException: 403 if it lies below no root or contains a parent-directory segment, 404 if it does not exist, 413 if
        it is too large
    """
    kind = media_type(uri)
    if not is_below_roots(uri, allowed):
        raise HTTPException(403, "the report lies outside of the report roots ([slo] report_roots)")
    try:
        if is_local(uri):
            return _read_local(_local(uri), [_local(root) for root in allowed if is_local(root)]), kind
        return _read_remote(uri), kind
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise HTTPException(404, "the report does not exist any more") from None


def media_type(uri: str) -> str:
    """Return the media type of a report by its name. Everything except HTML is shown as plain text."""
    name = urlsplit(uri).path.lower()
    return "text/html; charset=utf-8" if name.endswith((".html", ".htm")) else "text/plain; charset=utf-8"


def is_below_roots(uri: str, allowed: list[str]) -> bool:
    """Return whether a URI lies below one of the roots; never for parent-directory segments, queries or control characters."""
    if not uri or any(ord(character) < 32 for character in uri) or "\\" in uri:
        return False
    return any(_is_below(_segments(uri), _segments(root)) for root in allowed)


def _is_below(path: tuple[str, ...] | None, root: tuple[str, ...] | None) -> bool:
    return path is not None and root is not None and len(path) > len(root) and path[: len(root)] == root


def _segments(uri: str) -> tuple[str, ...] | None:
    """Return scheme, host and path segments; None if a segment names the current or parent directory, even if it is quoted."""
    if is_local(uri):
        path = _local(uri)
        parts = [part for part in str(path).split("/") if part not in ("", ".")]
        head = ["file", ""]
        if not path.is_absolute():
            return None
    else:
        split = urlsplit(uri)
        if split.query or split.fragment:
            return None
        parts = [part for part in split.path.split("/") if part]
        head = [split.scheme.lower(), split.netloc]
    if any(_is_dot_segment(part) for part in parts):
        return None
    return (*head, *parts)


def _is_dot_segment(part: str) -> bool:
    return any(text.strip() in ("..", ".") or "/" in text.strip("/") for text in (unquote(part), unquote(unquote(part))))


def _local(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path) if "://" in uri else uri)


def _read_local(path: Path, allowed: list[Path]) -> bytes:
    real = path.resolve(strict=True)
    # A symbolic link below a root may lead outside of it.
    if not any(real.is_relative_to(root.resolve()) for root in allowed):
        raise HTTPException(403, "the report lies outside of the report roots ([slo] report_roots)")
    if real.stat().st_size > MAX_BYTES:
        raise HTTPException(413, f"the report is larger than {MAX_BYTES // 1_000_000} MB")
    return real.read_bytes()


def _read_remote(uri: str) -> bytes:
    with object_path(uri).open("rb") as file:
        content: bytes = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise HTTPException(413, f"the report is larger than {MAX_BYTES // 1_000_000} MB")
    return content
