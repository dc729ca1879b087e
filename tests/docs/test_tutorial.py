"""The tutorial, block by block, in an empty directory: its commands print the documented output."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import DOCS, Block, blocks_of
from tests.support import REPO

BLOCKS = blocks_of(DOCS / "tutorial.md")
#: Separates the outputs of the blocks.
MARK = "---- block "


def script(home: Path) -> str:
    """Build a shell script from the page, without the installation."""
    steps = ["set -euo pipefail"]
    for number, block in enumerate(BLOCKS):
        if block.file:
            text = home / f"{number}.txt"
            text.write_text(block.text)
            steps.append(f"cp {text} {block.file}")
        elif block.language == "bash":
            lines = [line for line in block.text.splitlines() if not re.match(r"pip |python3 -m venv", line)]
            steps += [f"echo '{MARK}{number}'", *lines]
    return "\n".join(steps)


def spaced(text: str) -> str:
    return " ".join(text.split())


def test_tutorial_blocks_are_files_commands_or_output() -> None:
    assert {block.language for block in BLOCKS} <= {"bash", "python", "yaml", "text"}
    assert all(block.file for block in BLOCKS if block.language in ("python", "yaml"))


def test_tutorial_commands_print_the_documented_output(tmp_path: Path) -> None:
    assert shutil.which("bash")
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    env["PYTHONPATH"] = str(REPO)
    done = subprocess.run(
        ["bash", "-c", script(tmp_path)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600, check=False
    )
    logs = [path.read_text()[-3000:] for path in tmp_path.glob("gated/run.log")]
    assert done.returncode == 0, "\n".join([done.stdout[-3000:], done.stderr[-3000:], *logs])
    printed = dict(re.findall(rf"^{MARK}(\d+)\n(.*?)(?=^{MARK}|\Z)", done.stdout, re.DOTALL | re.MULTILINE))
    shown = 0
    for number, block in enumerate(BLOCKS):
        if block.language == "text":
            shown += _is_printed(block, printed[str(number - 1)])
    assert shown > 10


def _is_printed(block: Block, printed: str) -> int:
    lines = block.text.strip().splitlines()
    for line in lines:
        assert spaced(line) in spaced(printed), f"{block.name} says {line!r}, but what is printed is\n{printed}"
    return len(lines)
