"""Runs something in a process of its own that is killed (SIGKILL) at a step of the code, as an out-of-memory killer does it."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: As a worker forks its tasks: what is imported is there already.
_processes = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Step:
    """A moment in the code.

    :param said: what has been done by then, and what has not
    :param place: ``module:function`` or ``module:Class.method``
    :param done: whether the process dies after the call, and not before it
    """

    said: str
    place: str
    done: bool

    def __str__(self) -> str:
        return self.said


def killed_at(step: Step, what: Callable[[], object], *, seconds: float = 60) -> None:
    """Run ``what`` in another process that dies at the step.

    :param seconds: how long it may take to get there
    :raises AssertionError: when it ended in any other way: the step was never reached
    """
    process = _processes.Process(target=_run, args=(step, what))
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"it did not come to {step.place} within {seconds:g} s")
    assert process.exitcode == -signal.SIGKILL, f"it ended with {process.exitcode}, and never came to {step.place}"


def _run(step: Step, what: Callable[[], object]) -> None:
    module, _, path = step.place.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for one in owners:
        owner = getattr(owner, one)
    real = getattr(owner, name)

    def dies(*arguments: Any, **keywords: Any) -> Any:
        if step.done:
            real(*arguments, **keywords)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, dies)
    what()
