"""Build the virtual environment ``.venv`` of this checkout, or say within a blink that it is up to date.

Runs on the standard library alone. The environment is rebuilt when pyproject.toml, constraints.txt, the Python or the place
of the checkout changes; a half-built one (interrupted, no network) is never taken for a finished one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".complete"
EXTRAS = "dev"
NEWS_EVERY = 5.0  # seconds between progress lines when pip is busy


def fingerprint() -> str:
    digest = hashlib.sha256()
    for part in (str(ROOT), sys.version, sys.base_prefix, EXTRAS):
        digest.update(part.encode() + b"\0")
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes() + b"\0")
    return digest.hexdigest()


def venv_python() -> Path:
    return VENV / "bin" / "python"


def works() -> bool:
    """Whether .venv holds an interpreter of this version that starts."""
    check = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    try:
        return subprocess.run([venv_python(), "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def run(command: list[str | os.PathLike[str]], *, started: float) -> None:
    """Run a command, showing a line of its news now and then; on failure show its last words and end."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    tail: deque[str] = deque(maxlen=40)
    packages, shown = 0, time.monotonic()
    for line in process.stdout:
        tail.append(line)
        packages += bool(re.match(r"\s*Collecting ", line))
        if line.startswith("Installing collected"):
            say("unpacking them into .venv", started)
        elif line.lstrip().startswith("Collecting") and time.monotonic() - shown >= NEWS_EVERY:
            shown = time.monotonic()
            say(f"{packages} packages so far; {line.strip().split(' (')[0]}", started)
    if process.wait() != 0:
        sys.stdout.writelines(tail)
        sys.exit(f"env: {' '.join(map(str, command[:5]))} ... ended with {process.returncode}; its last words are above")


def say(text: str, started: float) -> None:
    print(f"env {time.monotonic() - started:5.0f} s  {text}", flush=True)


def build(started: float) -> None:
    STAMP.unlink(missing_ok=True)
    if not works():
        say(f"creating .venv with Python {sys.version.split()[0]}", started)
        shutil.rmtree(VENV, ignore_errors=True)
        made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
        if made.returncode:
            sys.exit(
                f"env: python -m venv failed:\n{made.stdout}{made.stderr}\n"
                "On Debian and Ubuntu the module is a package of its own: apt-get install python3-venv"
            )
    say("installing airflow-slo-provider, Apache Airflow and the test tools (about a minute)", started)
    pip = [venv_python(), "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar=off", "--no-input"]
    run([*pip, "--constraint", "constraints.txt", "--editable", f".[{EXTRAS}]"], started=started)
    run([venv_python(), "-m", "pip", "--disable-pip-version-check", "check"], started=started)
    STAMP.write_text(fingerprint())
    say("the environment is ready", started)


def main() -> None:
    started = time.monotonic()
    os.chdir(ROOT)
    with (ROOT / ".venv.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another make builds the environment; waiting for it", started)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if STAMP.is_file() and STAMP.read_text() == fingerprint() and works():
            say(f"the environment in .venv is up to date (Python {sys.version.split()[0]})", started)
        else:
            build(started)


if __name__ == "__main__":
    main()
