"""Run a function in a separate process that is killed (SIGKILL) at a step of the code, as by an out-of-memory killer."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: Forked, as a worker forks its tasks: modules are already imported.
_processes = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Step:
    """A step of the code.

    :param description: what has been done by then
    :param function: ``module:function`` or ``module:Class.method``
    :param done: whether the process is killed after the call instead of before it
    """

    description: str
    function: str
    done: bool

    def __str__(self) -> str:
        return self.description


def killed_at(step: Step, what: Callable[[], object], *, seconds: float = 60) -> None:
    """Run ``what`` in another process that is killed at the step.

    :param seconds: maximum duration until the step
    :raises AssertionError: if the step was never reached
    """
    process = _processes.Process(target=_run, args=(step, what))
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"it did not come to {step.function} within {seconds:g} s")
    assert process.exitcode == -signal.SIGKILL, f"it ended with {process.exitcode}, and never came to {step.function}"


def _run(step: Step, what: Callable[[], object]) -> None:
    module, _, path = step.function.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for name_of_owner in owners:
        owner = getattr(owner, name_of_owner)
    real = getattr(owner, name)

    def call_and_kill(*arguments: Any, **keywords: Any) -> Any:
        if step.done:
            real(*arguments, **keywords)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, call_and_kill)
    what()
