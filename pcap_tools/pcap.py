"""Reads packet captures: chooses the flows of telemetry hosts, opens them, and accounts for each.

A first pass over the file chooses and opens flows as it goes; a second one, only where needed, looks for
those that became known too late (`flows`). Memory is bounded whatever the size of the file. A capture that
is damaged is read up to the damage, and then InputError says where that is; the files of one rotated
capture can be read as one.
"""

from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from msgspec import structs

from mutewatch.errors import InputError, OperatorError, shown
from mutewatch.flow_records import Burst, Flow, FlowOutcome, Sender
from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange, Origin
from pcap_tools.capture.magic import GZIP_MAGIC, PCAP_MAGIC, PCAPNG_MAGIC, ZSTD_MAGIC
from pcap_tools.files import open_input
from pcap_tools.keylog_file import diagnose
from pcap_tools.limits import DEFAULT_READ_LIMITS, ReadLimits

if TYPE_CHECKING:
    from pcap_tools.capture.stream_numbers import StreamNumbers
    from pcap_tools.connection import Connection
    from pcap_tools.flows import Found
    from pcap_tools.http.message import HttpMessage
    from pcap_tools.quic_flows import QuicFlow
    from pcap_tools.rtp.stream import Reading
    from pcap_tools.tls.keylog import KeyLog

_MOST_FAULTS = 10  # told after the first
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CaptureReader:
    """Yields the HTTP messages of the telemetry flows in a pcap or pcapng file, plain, gzip or zstd."""

    name = "pcap"

    def __init__(self, limits: ReadLimits = DEFAULT_READ_LIMITS, *, keep_responses: bool = False) -> None:
        self._limits, self._keep_responses = limits, keep_responses

    def sniff(self, head: bytes) -> bool:
        return head[:4] in PCAP_MAGIC or head[:4] in (PCAPNG_MAGIC, ZSTD_MAGIC) or head[:2] == GZIP_MAGIC

    def read(self, path: Path, options: ReadOptions) -> Iterator[Exchange]:
        """Yield one exchange for each request and websocket message, and one for each flow that stayed dark.

        Behind a request comes the body of its response, if that is wanted.
        """
        return self.read_rotated((path,), options)

    def read_rotated(self, paths: Sequence[Path], options: ReadOptions) -> Iterator[Exchange]:
        """The same for several files that hold one capture, one after the other."""
        for exchange, _ in self.read_messages(paths, options):
            yield exchange

    def read_messages(
        self, paths: Sequence[Path], options: ReadOptions
    ) -> Iterator[tuple[Exchange, "HttpMessage | None"]]:
        """The same, with the whole messages that the exchanges were made of; None for a dark flow."""
        reading = _Reading(tuple(paths), options, self._limits, self.name, self._keep_responses)
        try:
            yield from reading.run()
        finally:
            reading.close()


@dataclass(slots=True)
class _File:
    """One file of a capture, and what came of it."""

    path: Path
    first_frame: int  # how many frames the earlier files hold
    streams: "StreamNumbers"
    damage: tuple[str, int | None] | None = None
    is_readable: bool = True

    @property
    def fault(self) -> InputError | None:
        if self.damage is None:
            return None
        reason, offset = self.damage
        return InputError(self.path, f"incomplete: {reason}" if self.is_readable else reason, offset)


class _Reading:
    """One reading of one capture."""

    def __init__(
        self, paths: tuple[Path, ...], options: ReadOptions, limits: ReadLimits, door: str, keep_responses: bool
    ) -> None:
        from pcap_tools.flows import FlowTable
        from pcap_tools.http.draft import keep_all
        from pcap_tools.http.exchange import is_wanted
        from pcap_tools.interest import Interest
        from pcap_tools.tls.keylog import KeyLog

        self._paths, self._options, self._limits, self._door = paths, options, limits, door
        self._keylog = KeyLog()
        self._key_files = [_KeyFile(path, open_input(path)) for path in options.keylogs]
        self._poll_keys()
        addresses = {_address(text): None for text in options.addresses}
        keeps = keep_all if keep_responses else partial(is_wanted, options.wants_answer)
        self._table = FlowTable(
            Interest(options.is_host, dict(addresses), keeps, options.on_streams is not None, options.others_by_key),
            self._keylog,
            limits,
            reads_once=self._reads_once,
        )
        self._files: list[_File] = []
        self._ordinal = 0

    @property
    def _reads_once(self) -> bool:
        return self._options.follow or Path("-") in self._paths

    def run(self) -> Iterator[tuple[Exchange, "HttpMessage | None"]]:
        yield from self._pass()
        yield from self._account_media()
        if not self._reads_once and self._table.look_again():
            yield from self._pass()
        yield from self._account()
        faults = [fault for file in self._files if (fault := file.fault)]
        faults += [InputError(one.path, diagnose(one.path)) for one in self._key_files if not one.has_secrets]
        if faults:
            first, *others = faults
            told = "".join(f"; and {other}" for other in others[:_MOST_FAULTS])
            raise InputError(first.path, first.reason + told, first.offset)

    def close(self) -> None:
        for key_file in self._key_files:
            key_file.handle.close()

    def _pass(self) -> Iterator[tuple[Exchange, "HttpMessage | None"]]:
        """Go through all files once."""
        from pcap_tools.capture.stream_numbers import StreamNumbers

        self._files.clear()
        before = behind = 0
        for path in self._paths:
            self._files.append(_File(path, before, StreamNumbers(self._limits.conversations)))
            before, consumed = yield from self._walk(self._files[-1], behind)
            behind += consumed
        yield from self._exchanges(self._table.finish())

    def _walk(
        self, file: _File, behind: int
    ) -> Generator[tuple[Exchange, "HttpMessage | None"], None, tuple[int, int]]:
        """Go through one file; return the number of packets so far, and the bytes of this file."""
        from pcap_tools.capture.framing import Walk, Wholeness
        from pcap_tools.capture.source import open_source

        try:
            source = open_source(file.path, self._limits, follow=self._options.follow)
        except InputError as error:  # of a rotated capture, the others are still worth reading
            file.damage, file.is_readable = (error.reason, error.offset), False
            return file.first_frame, 0
        try:
            walk = Walk(source, self._limits, file.first_frame, self._add_secrets)
            for batches in walk.chunks():
                if self._reads_once:
                    self._poll_keys()
                yield from self._exchanges(self._table.take(batches, file.streams))
                if self._table.media is not None:
                    yield from self._media(self._table.media.ready())
                self._options.on_bytes(behind + source.consumed)
                self._options.on_chosen(self._table.chosen)
        finally:
            source.close()
        if walk.framing.wholeness is not Wholeness.COMPLETE:
            file.damage = (walk.framing.reason or "unreadable", walk.framing.offset)
            file.is_readable = walk.framing.wholeness is Wholeness.INCOMPLETE
        return walk.frames, source.consumed

    def _exchanges(self, found: "Found") -> Iterator[tuple[Exchange, "HttpMessage | None"]]:
        from pcap_tools.http.exchange import Route, answer_exchange, to_exchange
        from pcap_tools.http.message import Protocol

        for connection, message in found:
            self._ordinal += 1
            file, frame = self._locate(message.last.frame)
            route = Route(
                self._door,
                shown(file.path),
                _text(connection.client[0]),
                connection.server[1],
                sni=connection.server_name,
                tcp_stream=file.streams.number(connection.client, connection.server, message.last.frame),
                client_port=connection.client[1],
                is_tls=connection.is_tls,
                connection=self._name(connection),
            )
            exchange = to_exchange(message, route, self._ordinal)
            if message.protocol is Protocol.WEBSOCKET:
                exchange = structs.replace(exchange, sent_at=connection.apart.time(exchange.sent_at))
            if frame != message.last.frame:
                exchange = structs.replace(exchange, origin=structs.replace(exchange.origin, frame=frame))
            yield exchange, message
            if message.response and self._options.wants_answer(exchange.method, exchange.host, exchange.path):
                self._ordinal += 1
                answer = answer_exchange(exchange, message.response, self._ordinal)
                file, frame = self._locate(message.response.last.frame)
                yield (
                    structs.replace(answer, origin=structs.replace(answer.origin, file=shown(file.path), frame=frame)),
                    message,
                )

    def _media(self, readings: "Iterable[Reading]") -> Iterator[tuple[Exchange, None]]:
        """Yield what clients, and those that may be clients, tell in clear of their sound."""
        from pcap_tools.rtp.exchange import to_exchange

        for reading in readings:
            if reading.stream.sender is Sender.SERVER:
                continue
            self._ordinal += 1
            file, frame = self._locate(reading.minute.last_frame)
            first_file, first = self._locate(reading.stream.first_frame)
            origin = Origin(self._door, shown(file.path), self._ordinal, frame)
            yield to_exchange(reading, origin, f"{shown(first_file.path)}#{first}"), None

    def _account_media(self) -> Iterator[tuple[Exchange, None]]:
        """Give the last minutes of all RTP streams, and say what became of these."""
        from pcap_tools.rtp.exchange import to_record

        media = self._table.media
        if media is None or self._options.on_streams is None:
            return
        yield from self._media(media.finish())
        found = sorted(media.told, key=lambda stream: stream.first_frame)
        streams = [to_record(one, shown(self._locate(one.first_frame)[0].path), self._frame, _time) for one in found]
        self._options.on_streams(streams, media.untold)

    def _frame(self, frame: int) -> int:
        return self._locate(frame)[1]

    def _name(self, connection: "Connection") -> str:
        file, frame = self._locate(connection.tally.first.frame)
        return f"{shown(file.path)}#{frame}"

    def _locate(self, frame: int) -> tuple[_File, int]:
        """Return which file a packet is in, and its number there."""
        file = self._files[bisect_right(self._files, frame - 1, key=lambda file: file.first_frame) - 1]
        return file, frame - file.first_frame

    def _account(self) -> Iterator[tuple[Exchange, None]]:
        """Say of every chosen flow what became of it; a dark one gives an exchange of its own."""
        for connection in self._table.closed:
            flow = self._flow(connection, connection.host, str(connection.basis), connection.outcome, connection.detail)
            self._options.on_flow(replace(flow, messages=connection.messages))
            if not connection.messages and flow.outcome not in (FlowOutcome.ECH, FlowOutcome.EMPTY):
                yield self._dark(flow), None  # whose an ECH flow is, nobody knows
        for quic in self._table.quic:
            flow = self._flow(quic, quic.host, "QUIC", FlowOutcome.QUIC, "HTTP/3 is not read here")
            self._options.on_flow(flow)
            yield self._dark(flow), None
        self._options.on_unidentified(+self._table.unidentified)
        self._options.on_skipped(self._table.dissector.skipped)

    def _dark(self, flow: Flow) -> Exchange:
        self._ordinal += 1
        return Exchange(
            sent_at=flow.started_at,
            client=flow.client,
            host=flow.host,
            port=flow.port,
            method="",
            path="",
            query="",
            body=None,
            origin=Origin(self._door, flow.file, self._ordinal, flow.first_frame),
            connection=f"{flow.file}#{flow.first_frame}",
        )

    def _flow(
        self, one: "Connection | QuicFlow", host: str | None, basis: str, outcome: FlowOutcome, detail: str
    ) -> Flow:
        file, first = self._locate(one.tally.first.frame)
        return Flow(
            file=shown(file.path),
            client=_text(one.client[0]),
            client_port=one.client[1],
            server=_text(one.server[0]),
            port=one.server[1],
            host=host,
            basis=basis,
            outcome=outcome,
            detail=detail,
            first_frame=first,
            last_frame=self._locate(one.tally.last.frame)[1],
            started_at=_time(one.tally.first.time_ns),
            ended_at=_time(one.tally.last.time_ns),
            client_bytes=one.tally.sent[0],
            server_bytes=one.tally.sent[1],
            messages=0,
            bursts=tuple(Burst(_time(time_ns), size) for time_ns, size in one.tally.bursts()),
        )

    def _add_secrets(self, keylog: bytes) -> None:
        self._keylog.add(keylog)

    def _poll_keys(self) -> None:
        for key_file in self._key_files:
            key_file.poll(self._keylog)


@dataclass(slots=True)
class _KeyFile:
    """A key log, which may still grow."""

    path: Path
    handle: BinaryIO
    has_secrets: bool = False
    _rest: bytes = field(default=b"")

    def poll(self, keylog: "KeyLog") -> None:
        """Add the lines that are new. A last line without an end is taken as it is, and again once it has one."""
        from pcap_tools.tls.keylog import LONGEST_LINE

        while more := self.handle.read(1 << 20):
            lines, newline, rest = (self._rest + more).rpartition(b"\n")
            self._rest = rest[:LONGEST_LINE]  # of a longer one, no more is read
            self.has_secrets |= bool(keylog.add(lines + newline))
        self.has_secrets |= bool(self._rest and keylog.add(self._rest))


def _address(text: str) -> bytes:
    try:
        return ip_address(text).packed
    except ValueError:
        raise OperatorError(f"{text}: not an IP address, such as 192.0.2.7 or 2001:db8::7") from None


def _text(address: bytes) -> str:
    return str(ip_address(address))


def _time(time_ns: int | None) -> datetime | None:
    try:
        return None if time_ns is None else _EPOCH + timedelta(microseconds=time_ns // 1000)
    except OverflowError:
        return None
