"""Signals that arrive whatever else waits.

asyncio has a signal's number written into the pipe that also wakes its loop. That takes some 280 wake-ups: where
several hundred connections come at once while the loop is busy, it is full, and the signal is gone. So a proxy went
on after its SIGTERM, once in some stops under such load.
"""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from mitmproxy import ctx


def answer(number: signal.Signals, act: Callable[[], object]) -> None:
    """From now on `act` is called on the running loop at each such signal. ValueError on a thread but the main one."""
    loop = asyncio.get_running_loop()

    def heard(_number: int, _frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(act)

    loop.remove_signal_handler(number)
    signal.signal(number, heard)


def end_when_told() -> None:
    """Have SIGTERM and SIGINT end the proxy, as mitmproxy has them do."""
    for number in (signal.SIGTERM, signal.SIGINT):
        answer(number, ctx.master.shutdown)
