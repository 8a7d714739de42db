"""A signal is answered also where it comes while hundreds of other things wake the loop, and nothing else."""

import signal
from pathlib import Path

import pytest

from addons.launch import addon_path
from tests.live_support import SECONDS, Scene, wait_until

pytestmark = pytest.mark.live

BURST = """
import asyncio, os, time

def burst(loop):
    for _ in range(1000):
        loop.call_soon_threadsafe(int)
    os.kill(os.getpid(), {number})
    time.sleep(0.1)

def running():
    loop = asyncio.get_running_loop()
    loop.call_later(1, burst, loop)
"""


def burst(folder: Path, number: signal.Signals) -> list[str]:
    script = folder / "burst.py"
    script.write_text(BURST.format(number=number.value))
    return ["-s", str(script)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_proxy_ends(live: Scene, tmp_path: Path, number: signal.Signals) -> None:
    with live.proxy(script=addon_path(), raw=burst(tmp_path, number)) as proxy:
        assert proxy.process.wait(SECONDS) == 0


def test_the_settings_are_read_again(live: Scene, tmp_path: Path) -> None:
    with live.proxy(script=addon_path(), raw=burst(tmp_path, signal.SIGHUP)) as proxy:
        wait_until(lambda: "settings file to read again" in proxy.text(), "SIGHUP is answered")
        assert proxy.stop() == 0
