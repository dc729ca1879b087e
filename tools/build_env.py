"""Build the virtual environment ``.venv`` of this checkout, unless it is up to date.

``build_env.py 3.2`` builds ``.venv-3.2``, where the versions of constraints-3.2.txt replace those of constraints.txt. Needs only
the standard library. The environment is rebuilt if pyproject.toml, the constraints, the Python or the path of the checkout
changes; an incomplete one (interrupted, no network) is never used.
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
AIRFLOW = sys.argv[1] if __name__ == "__main__" and sys.argv[1:] else ""
VENV = ROOT / (f".venv-{AIRFLOW}" if AIRFLOW else ".venv")
STAMP = VENV / ".complete"
EXTRAS = "dev"
PROGRESS_SECONDS = 5.0  # seconds between progress lines when pip is busy


def fingerprint() -> str:
    digest = hashlib.sha256()
    for part in (str(ROOT), sys.version, sys.base_prefix, EXTRAS, (ROOT / "pyproject.toml").read_text(), constraints(AIRFLOW)):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def constraints(airflow: str = "") -> str:
    """Return constraints.txt; for a version of Airflow, with the lines of its own file instead of theirs."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    if airflow:
        own = (ROOT / f"constraints-{airflow}.txt").read_text().splitlines()
        packages = {line.partition("==")[0] for line in own}
        lines = [line for line in lines if line.partition("==")[0] not in packages] + own
    return "\n".join(lines) + "\n"


def venv_python() -> Path:
    return VENV / "bin" / "python"


def has_interpreter() -> bool:
    """Return whether VENV has a working interpreter of this Python version."""
    check = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    try:
        return subprocess.run([venv_python(), "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def run(command: list[str | os.PathLike[str]], *, started: float) -> None:
    """Run a command and print its progress; on failure print the end of its output and exit."""
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
            print_progress(f"unpacking them into {VENV.name}", started)
        elif line.lstrip().startswith("Collecting") and time.monotonic() - shown >= PROGRESS_SECONDS:
            shown = time.monotonic()
            print_progress(f"{packages} packages so far; {line.strip().split(' (')[0]}", started)
    if process.wait() != 0:
        sys.stdout.writelines(tail)
        sys.exit(f"env: {' '.join(map(str, command[:5]))} ... ended with {process.returncode}; the end of its output is above")


def print_progress(text: str, started: float) -> None:
    print(f"env {time.monotonic() - started:5.0f} s  {text}", flush=True)


def build(started: float) -> None:
    STAMP.unlink(missing_ok=True)
    if not has_interpreter():
        print_progress(f"creating {VENV.name} with Python {sys.version.split()[0]}", started)
        shutil.rmtree(VENV, ignore_errors=True)
        created = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
        if created.returncode:
            sys.exit(
                f"env: python -m venv failed:\n{created.stdout}{created.stderr}\n"
                "On Debian and Ubuntu the module is a package of its own: apt-get install python3-venv"
            )
    print_progress("installing airflow-slo-provider, Apache Airflow and the test tools (about a minute)", started)
    pip = [venv_python(), "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar=off", "--no-input"]
    versions = VENV / "constraints.txt"
    versions.write_text(constraints(AIRFLOW))
    run([*pip, "--constraint", versions.relative_to(ROOT), "--editable", f".[{EXTRAS}]"], started=started)
    run([venv_python(), "-m", "pip", "--disable-pip-version-check", "check"], started=started)
    STAMP.write_text(fingerprint())
    print_progress("the environment is ready", started)


def main() -> None:
    started = time.monotonic()
    os.chdir(ROOT)
    if AIRFLOW and not (ROOT / f"constraints-{AIRFLOW}.txt").exists():
        sys.exit(f"env: there is no constraints-{AIRFLOW}.txt: write the versions into it that Airflow {AIRFLOW} needs")
    with (ROOT / f"{VENV.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print_progress("another process builds the environment; waiting for it", started)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if STAMP.is_file() and STAMP.read_text() == fingerprint() and has_interpreter():
            print_progress(f"the environment in {VENV.name} is up to date (Python {sys.version.split()[0]})", started)
        else:
            build(started)


if __name__ == "__main__":
    main()
