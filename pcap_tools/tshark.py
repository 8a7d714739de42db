"""Reads packet captures through tshark, driven by pyshark: the reference decoder.

tshark reassembles TCP, decrypts TLS with NSS key logs (ReadOptions.keylogs, or embedded in pcapng) and
dissects HTTP/1.1 and HTTP/2; `tshark_http` makes exchanges of it. The framing is checked first, in our own
walk (`capture.framing`): what tshark finds in a damaged capture is yielded, and then InputError says where it ends.

Preferences that matter, measured: without `tcp.reassemble_out_of_order` 58 of 60 requests are lost to
reordered segments; with `http.decompress_body` tshark would expand any body without a bound, so bodies stay
compressed here as at every other door.

Not read: HTTP/3, websockets and the bodies of responses. Not seen: an HTTP/1.1 request of which a packet is missing,
and in TLS what follows it on the connection; tshark shows nothing of either, so a lossy capture looks like a quiet one.
"""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mutewatch.errors import InputError, OperatorError, shown
from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange
from pcap_tools.capture.framing import Framing, Wholeness, check_framing
from pcap_tools.capture.magic import PCAP_MAGIC, PCAPNG_MAGIC
from pcap_tools.files import open_input
from pcap_tools.limits import DEFAULT_READ_LIMITS, ReadLimits
from pcap_tools.tshark_http import HttpMessages

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from asyncio.subprocess import Process

_FILTER = "http.request or http.response or http2 or tls.handshake.extensions_server_name"
_LAYERS = "frame ip ipv6 tcp tls http http2"
_PREFERENCES = {
    "tcp.desegment_tcp_streams": "TRUE",
    "tcp.reassemble_out_of_order": "TRUE",
    "tls.desegment_ssl_records": "TRUE",
    "tls.desegment_ssl_application_data": "TRUE",
    "http.desegment_headers": "TRUE",
    "http.desegment_body": "TRUE",
    "http.dechunk_body": "TRUE",
    "http.decompress_body": "FALSE",
}
_KILL_SECONDS = 2  # for a killed tshark to be gone
_EXIT_SECONDS = 10  # for tshark to end by itself once it has written everything


class TsharkReader:
    """Yields the HTTP requests of a pcap or pcapng file that tshark can see."""

    name = "pcap"

    def __init__(self, limits: ReadLimits = DEFAULT_READ_LIMITS) -> None:
        self._limits = limits

    def sniff(self, head: bytes) -> bool:
        return head[:4] in PCAP_MAGIC or head[:4] == PCAPNG_MAGIC

    def read(self, path: Path, options: ReadOptions) -> Iterator[Exchange]:
        """Yield one exchange for each request, in their order.

        Raises OperatorError if tshark is missing, and InputError if the capture or a key log cannot be read.
        """
        framing = check_framing(path, self._limits)
        if framing.wholeness is Wholeness.UNREADABLE:
            raise InputError(path, framing.reason or "unreadable", framing.offset)
        tshark = shutil.which("tshark")
        if tshark is None:
            raise OperatorError("tshark is not installed: install it (Debian: apt install tshark) and try again")
        messages = HttpMessages(self.name, shown(path), self._limits)
        with _one_keylog(options.keylogs) as keylog:
            preferences = dict(_PREFERENCES) | ({"tls.keylog_file": str(keylog)} if keylog else {})
            for packet in _packets(path, tshark, preferences, framing, self._limits):
                yield from messages.feed(packet)
        yield from messages.finish()
        options.on_bytes(path.stat().st_size)
        if framing.wholeness is Wholeness.INCOMPLETE:
            raise InputError(path, f"incomplete: {framing.reason}", framing.offset)


@contextlib.contextmanager
def _one_keylog(keylogs: Sequence[Path]) -> Iterator[Path | None]:
    """Give one key log file with the lines of all; a private temporary one where there are several."""
    import tempfile

    for keylog in keylogs:
        open_input(keylog).close()
    if len(keylogs) < 2:
        yield keylogs[0].resolve() if keylogs else None
        return
    with tempfile.NamedTemporaryFile(prefix="mutewatch-", suffix=".keys") as merged:  # mode 0600
        for keylog in keylogs:
            with open_input(keylog) as handle:
                shutil.copyfileobj(handle, merged)
            merged.write(b"\n")
        merged.flush()
        yield Path(merged.name)


def _packets(
    path: Path, tshark: str, preferences: dict[str, str], framing: Framing, limits: ReadLimits
) -> Iterator[Any]:
    """Yield pyshark's packets of `path`, and leave no process, event loop or task behind."""
    import asyncio

    loop = asyncio.new_event_loop()
    silence = limits.silence_seconds + path.stat().st_size / limits.silence_bytes_per_second
    capture = None
    try:
        capture = _open_capture(path, tshark, preferences, loop)
        packets = iter(capture)
        while True:
            alarm = loop.call_later(silence, capture.give_up)
            try:
                packet = next(packets, None)
            finally:
                alarm.cancel()
            if packet is None:
                break
            yield packet
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # pyshark parses tshark's output without checks
        raise InputError(path, f"tshark's output could not be understood: {error!r:.200}") from None
    finally:
        if capture is not None:
            capture.stop()
        loop.close()
    if capture.gave_up:
        raise InputError(path, f"tshark was silent for {silence:.0f} seconds and was stopped")
    if capture.exit_status and framing.wholeness is Wholeness.COMPLETE:
        raise InputError(path, f"tshark stopped early: {capture.last_words}")


def _open_capture(path: Path, tshark: str, preferences: dict[str, str], loop: "AbstractEventLoop") -> Any:
    """Return a pyshark capture that ends cleanly: see `_Capture`."""

    import asyncio

    import pyshark

    class _Capture(pyshark.FileCapture):  # type: ignore[misc]
        """pyshark kills tshark as soon as its output ends, and so never learns whether it succeeded."""

        exit_status: int | None = None
        gave_up = False

        async def _cleanup_subprocess(self, process: "Process") -> None:
            if self._eof_reached and not self.gave_up:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(process.wait(), _EXIT_SECONDS)
            self.exit_status = process.returncode
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                with contextlib.suppress(asyncio.TimeoutError):  # while Python exits, nobody tells us
                    await asyncio.wait_for(process.wait(), _KILL_SECONDS)

        def give_up(self) -> None:
            self.gave_up = True
            for process in self._running_processes:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

        def stop(self) -> None:
            self.close()
            self.eventloop.run_until_complete(self.eventloop.shutdown_asyncgens())

        @property
        def last_words(self) -> str:
            return str(self._last_error_line or f"exit status {self.exit_status}")

    return _Capture(
        str(path.resolve()),
        use_json=True,
        include_raw=True,
        keep_packets=False,
        display_filter=_FILTER,
        override_prefs=preferences,
        disable_protocol="json",  # a body's own JSON would be dissected into one object per key
        custom_parameters=["-J", _LAYERS],
        tshark_path=tshark,
        eventloop=loop,
    )
