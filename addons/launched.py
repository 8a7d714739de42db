"""What `mutewatch live` was started with, kept where the addon finds it: in the same process, as one more addon.

The settings of the command line win over the file for as long as the proxy runs, so they are kept here and not
read from anywhere again. A plain `mitmdump -s` has none of this.
"""

import logging
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from addons.settings_sources import Loaded, Path_


@dataclass(slots=True, eq=False)
class Launched:
    """The settings that hold, and what stands above the file: `arguments` of ours, `extra` options of mitmproxy."""

    name: ClassVar[str] = "mutewatch_launched"  # under which mitmproxy gives it out

    loaded: Loaded
    arguments: Mapping[Path_, object]
    extra: tuple[str, ...] = ()
    is_asked_early: bool = False  # SIGHUP came before the proxy was ready

    def outlast_hangups(self) -> None:
        """From now on a SIGHUP ends nothing: until the addon answers it, it is kept in mind."""

        def remember(_number: int, _frame: object) -> None:
            self.is_asked_early = True

        signal.signal(signal.SIGHUP, remember)


def in_one_line(record: logging.LogRecord) -> bool:
    """A filter: of what the operator has to mend, mitmproxy logs the way through our code, too."""
    from mitmproxy.exceptions import OptionsError

    if record.exc_info and isinstance(record.exc_info[1], OptionsError):
        record.msg, record.args, record.exc_info = f"mutewatch: {record.exc_info[1]}", (), None
    return True


def run_mitmdump(arguments: Sequence[str], launched: Launched) -> None:
    """Run mitmdump until it is told to stop, with `launched` among its addons. As mitmproxy's own `mitmdump` does."""
    from mitmproxy.options import Options
    from mitmproxy.tools import cmdline, main
    from mitmproxy.tools.dump import DumpMaster

    class Master(DumpMaster):
        def __init__(self, options: Options) -> None:
            super().__init__(options)
            self.addons.add(launched)

    logging.getLogger("mitmproxy.addons.script").addFilter(in_one_line)
    main.run(Master, cmdline.mitmdump, arguments)
