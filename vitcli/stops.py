"""The signals that stop a run: it saves its state, and the same command resumes it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# From a person, from a terminal that closes, from a cluster at a time limit or a preemption.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
_STOPS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))  # Windows: two


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to stop; its state is saved."""


def stops() -> list[signal.Signals]:
    """Returns the signals that stop a run; under nohup, a closing terminal does not."""
    ignored = [s for s in _STOPS if signal.getsignal(s) is signal.SIG_IGN]
    return [s for s in _STOPS if not (s.name == "SIGHUP" and s in ignored)]


class StopSignal:
    """Whether a signal came.

    A signal ends at once what is going on; training is asked to stop after its step instead.
    A second Ctrl-C ends training, too.
    """

    def __init__(self) -> None:
        self._asked = self._waits = False
        self.number = 0  # of the signal that came

    def __call__(self) -> bool:
        """Returns whether a signal came; from now on a signal waits for the next question."""
        self._asked = True
        return self.number != 0

    @contextmanager
    def waits(self) -> Iterator[None]:
        """Lets the block go on to its next question, once it has asked the first one.

        An error of the block is written before the process ends: a signal no longer hinders that.
        """
        self._waits, self._asked = True, False
        try:
            yield
        except BaseException:
            self._asked = True
            raise
        self._waits = False
        if self.number:  # after the last question
            raise Interrupted("stopped after the last step")

    def handle(self, number: int, frame: object) -> None:
        """Is called on a signal."""
        again, self.number = self.number and number == signal.SIGINT, number
        if again or not (self._waits and self._asked):
            raise Interrupted(f"stopped by {signal.Signals(number).name}")


@contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """Gives what says whether one of the signals came.

    At the end whoever listened to it before is told: submitit, which then queues a job again.
    """
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.signal(s, stop.handle) for s in stops()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        listens = before.get(signal.Signals(stop.number)) if stop.number else None
        if callable(listens) and listens is not signal.default_int_handler:
            os.kill(os.getpid(), stop.number)
