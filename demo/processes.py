"""Start processes and end them with all their child processes. Standard library only."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessInfo:
    """One row of the process table.

    :param started: start time in the unit of the system; together with ``pid`` it identifies one process
    """

    pid: int
    ppid: int
    pgid: int
    started: str


def read_table() -> dict[int, ProcessInfo]:
    """Read the process table; zombies are left out."""
    if Path("/proc/self/stat").exists():
        return {info.pid: info for entry in os.listdir("/proc") if entry.isdigit() and (info := _from_proc(entry))}
    listing = subprocess.run(["ps", "-axo", "pid=,ppid=,pgid=,stat=,lstart="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=4) for line in listing.splitlines()]
    return {int(r[0]): ProcessInfo(int(r[0]), int(r[1]), int(r[2]), r[4].strip()) for r in rows if "Z" not in r[3]}


def _from_proc(pid: str) -> ProcessInfo | None:
    try:
        text = Path("/proc", pid, "stat").read_text()
    except OSError:
        return None
    # The command is in brackets and may itself contain brackets and spaces.
    fields = text[text.rindex(")") + 2 :].split()
    state, ppid, pgid, started = fields[0], fields[1], fields[2], fields[19]
    return None if state in "ZX" else ProcessInfo(int(pid), int(ppid), int(pgid), started)


def start(command: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a process as the leader of its own session and process group; its output is written to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )


def process_tree(leaders: Iterable[int]) -> dict[int, ProcessInfo]:
    """Return the processes ``leaders``, their descendants, and the members of their process groups."""
    rows = read_table()
    found = {pid: rows[pid] for pid in leaders if pid in rows}
    groups = set(leaders)
    while True:
        more = {p: i for p, i in rows.items() if p not in found and (i.ppid in found or i.pgid in groups)}
        if not more:
            return found
        found.update(more)


def still_running(members: Mapping[int, ProcessInfo]) -> dict[int, ProcessInfo]:
    """Return the processes of ``members`` that are still running; a reused process id is not one of them."""
    rows = read_table()
    return {pid: info for pid, info in members.items() if pid in rows and rows[pid].started == info.started}


def end(leaders: Sequence[subprocess.Popen[bytes]], *, grace: float = 20.0) -> list[int]:
    """End processes and everything they started, with SIGTERM and then SIGKILL. Return the ids that are left, normally none.

    :param grace: seconds between SIGTERM and SIGKILL
    """
    members = process_tree(process.pid for process in leaders)
    left = end_members(members, leaders=[process.pid for process in leaders], grace=grace)
    for process in leaders:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
    return left


def end_members(members: Mapping[int, ProcessInfo], *, leaders: Sequence[int], grace: float = 20.0) -> list[int]:
    """Like :func:`end`, for processes of another program, which are known by their rows of the process table."""
    members = dict(members)
    for pid in leaders:
        if pid in still_running(members):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while (rest := still_running(members)) and time.monotonic() < deadline:
        members.update(process_tree(pid for pid in leaders if pid in rest))  # started in the meantime
        if not any(pid in rest for pid in leaders):
            deadline = min(deadline, time.monotonic() + 2)  # without leaders, two seconds are enough
        time.sleep(0.1)
    for pid in still_running(members):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while still_running(members) and time.monotonic() < deadline:
        for pid in leaders:
            with suppress(ChildProcessError):  # reap child processes, which remain as zombies otherwise
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.05)
    return sorted(still_running(members))
