"""Settings read again on SIGHUP: all of a good file is taken, and nothing of a bad one.

The file is read on a thread of its own, since a disk may hang, and what it says is taken on the event loop in one
step: between two messages, never within one. Rules:

- what `mutewatch live` was told on its command line, and in its environment, still wins over the file;
- a file that cannot be read, is wrong, or asks for what needs a restart, changes nothing;
- every SIGHUP is answered in one line of the log, and counted. None of them ends the proxy.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable

from mitmproxy import ctx, exceptions

from addons.counters import HookCounters
from addons.launch import addon_lists, addon_options, option_name
from addons.launched import Launched
from addons.live_options import neighbours
from addons.settings_changes import changes
from addons.settings_launch import launch_settings
from addons.settings_sources import Loaded, WrongSettingsError, load
from addons.signals import answer
from mutewatch.errors import OperatorError

logger = logging.getLogger("mutewatch.live")

FAULTS_SHOWN = 3  # of one file; `mutewatch check` shows all
LINE_LENGTH = 1000  # characters of a log line: values in it are the file's


class Reloads:
    """Answers SIGHUP. `last`: what was said of the newest one; None before the first."""

    def __init__(self, counters: HookCounters) -> None:
        self._look: Callable[[], None] = lambda: None
        self.last: str | None = None
        self._counters = counters
        self._launched: Launched | None = None
        self._is_reading = self._is_asked_again = False

    def begin(self, look: Callable[[], None]) -> None:
        """From now on, answer. On the event loop, before the proxy's ports are open.

        `look`: has the other files read again, those of certificates; on a thread.
        """
        self._look = look
        self._launched = ctx.master.addons.get(Launched.name)
        try:
            answer(signal.SIGHUP, self.ask)
        except ValueError as error:  # a proxy on a thread of somebody else's process
            logger.info("mutewatch: SIGHUP is not ours to answer here: %s", error)
        if self._launched is not None and self._launched.is_asked_early:
            self._launched.is_asked_early = False
            self.ask()

    def ask(self) -> None:
        """Begin to read the file again; while that is under way, once more afterwards."""
        launched = self._launched
        if self._is_reading:
            self._is_asked_again = True
            return
        if launched is None or launched.loaded.file is None:
            self._say("there is no settings file to read again; the settings stay")
            self._start(self._look)
            return
        self._is_reading = True
        self._start(self._read, launched, asyncio.get_running_loop())

    def _start(self, task: Callable[..., None], *arguments: object) -> None:
        # daemon: a disk that hangs must not hold up the end of the proxy
        threading.Thread(target=task, args=arguments, name="mutewatch-reload", daemon=True).start()

    def _read(self, launched: Launched, loop: asyncio.AbstractEventLoop) -> None:
        """On a thread: read, and hand on what was found or what was wrong."""
        self._look()
        found: Loaded | Exception
        try:
            found = load(launched.loaded.file, launched.arguments)
        except Exception as error:
            found = error
        try:
            loop.call_soon_threadsafe(self._take, launched, found)
        except RuntimeError:  # the loop is closed: the proxy has stopped
            logger.debug("mutewatch: settings were read after the proxy had stopped")

    def _take(self, launched: Launched, found: Loaded | Exception) -> None:
        self._is_reading = False
        try:
            if isinstance(found, Exception):
                raise found
            said = take(launched, found)
        except OperatorError as error:
            self._refuse(_in_one_line(error))
        except Exception as error:  # our own fault
            logger.exception("mutewatch: fault while taking settings")
            self._refuse(f"{launched.loaded.file}: {type(error).__name__}, a fault of mutewatch's own")
        else:
            self._counters.reloads += 1
            self._say(f"{launched.loaded.file} was read again: {said}")
        if self._is_asked_again:
            self._is_asked_again = False
            self.ask()

    def _refuse(self, why: str) -> None:
        self._counters.reloads_refused += 1
        self._say(f"settings were read again and not taken, the old ones stay: {why}")

    def _say(self, text: str) -> None:
        """One line, whatever a file holds, at the level that is shown by default.

        Not an error: mitmproxy ends for one that is logged while it starts.
        """
        self.last = " ".join(text.split())[:LINE_LENGTH]
        logger.warning("mutewatch: %s", self.last)


def take(launched: Launched, found: Loaded) -> str:
    """Run with `found` from now on; return what has changed, in words. Raises WrongSettingsError."""
    asked = changes(launched.loaded.settings, found.settings)
    reasons = asked.reasons
    if not reasons and found.signatures != launched.loaded.signatures:
        reasons = ("files of your own signatures have changed: restart mutewatch",)
    if reasons:
        raise WrongSettingsError([f"{found.file}: {reason}" for reason in reasons])
    try:
        ctx.options.set(*option_specs(launched, found))  # all of them or none
    except exceptions.OptionsError as error:
        raise WrongSettingsError([f"{found.file}: {error}"]) from None
    launched.loaded = found
    return "; ".join(map(str, asked.changed)) or "nothing has changed"


def option_specs(launched: Launched, found: Loaded) -> list[str]:
    """Return what mitmproxy is told, "name=value" each; what the operator set himself stays."""
    settings = launch_settings(found.settings)
    values = [f"{name}={value}" for name, value in addon_options(settings.live).items()]
    own = {option_name(option) for option in launched.extra}
    wanted = [*values, *addon_lists(settings.live), *settings.extra, *neighbours(settings.live)]
    return [spec for spec in wanted if option_name(spec) not in own]


def _in_one_line(error: OperatorError) -> str:
    faults = error.faults if isinstance(error, WrongSettingsError) else (str(error),)
    more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
    return "; ".join(faults[:FAULTS_SHOWN]) + more
