"""What goes out again: flows for mitmproxy, HAR, small captures, and tshark's second opinion on them."""

import io
import json
import shutil
import subprocess
import sys
from collections import Counter
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import pytest
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader
from msgspec.structs import replace

from mutewatch.errors import OperatorError
from mutewatch.flow_records import Flow
from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange
from pcap_tools.capture.framing import Walk, Wholeness, check_framing
from pcap_tools.capture.source import open_source
from pcap_tools.carve import carve, flow_keys
from pcap_tools.flow_dump import FlowDumpReader
from pcap_tools.flow_writer import Read, write_flow_dump, write_har
from pcap_tools.har import HarReader
from pcap_tools.http.exchange import time_of
from pcap_tools.http.message import Protocol
from pcap_tools.limits import DEFAULT_READ_LIMITS
from pcap_tools.pcap import CaptureReader
from pcap_tools.stream import Side
from pcap_tools.tls.keylog import KeyLog
from pcap_tools.verify import Opinion, second_opinion
from tests.captures.capture import Capture
from tests.captures.conversations import HOST
from tests.captures.variants import VARIANTS

KINDS = ["tls13", "http2", "http1_gzip", "http1_chunked", "plain", "proxy", "one_lost"]


def messages_of(
    made: Capture, folder: Path, flows: list[Flow] | None = None
) -> tuple[list[Path], ReadOptions, list[Read]]:
    """Return the files of a capture, what to read them with, and what is in them."""
    paths, keylog = made.write(folder)
    found = [] if flows is None else flows
    options = ReadOptions((keylog,) if keylog else (), HOST.__eq__, on_flow=found.append)
    return paths, options, list(CaptureReader(keep_responses=True).read_messages(paths, options))


def asked(exchanges: list[Exchange]) -> list[tuple[object, ...]]:
    """What must be the same, whichever way an exchange went; but for times, which a flow dump has of the first byte."""
    rows = [(e.method, e.host, e.port, e.path, e.query, e.body or b"", e.status, e.content_encoding) for e in exchanges]
    return sorted(rows, key=repr)


def times(exchanges: list[Exchange]) -> list[datetime]:
    return sorted(exchange.sent_at for exchange in exchanges if exchange.sent_at)


@pytest.mark.parametrize("name", KINDS)
def test_a_flow_dump_gives_the_same_exchanges(name: str, tmp_path: Path) -> None:
    _, _, messages = messages_of(VARIANTS[name](), tmp_path)
    path = tmp_path / "out.mitm"
    with path.open("wb") as file:
        assert write_flow_dump(messages, file) == len(messages)
    again = list(FlowDumpReader().read(path, ReadOptions()))
    assert asked(again) == asked([exchange for exchange, _ in messages])
    begun = [time_of(message.first) for _, message in messages if message]
    assert times(again) == sorted(time for time in begun if time)


@pytest.mark.parametrize("name", KINDS)
def test_a_har_is_json_and_gives_the_same_exchanges(name: str, tmp_path: Path) -> None:
    _, _, messages = messages_of(VARIANTS[name](), tmp_path)
    path = tmp_path / "out.har"
    with path.open("wb") as file:
        assert write_har(messages, file) == len(messages)
    log = json.loads(path.read_bytes())["log"]
    assert (log["version"], len(log["entries"])) == ("1.2", len(messages))
    again = list(HarReader().read(path, ReadOptions()))
    bodies = Counter(exchange.body or b"" for exchange, _ in messages)
    if name != "http1_gzip":  # a HAR holds text: mitmproxy takes the encoding off
        assert Counter(exchange.body or b"" for exchange in again) == bodies
    assert [(e.method, e.path) for e in again] == [
        (e.method, "/" if e.method == "CONNECT" else e.path) for e, _ in messages
    ]


def flows_of(messages: list[Read]) -> list[HTTPFlow]:
    """Return the flows as mitmproxy reads them."""
    file = io.BytesIO()
    write_flow_dump(messages, file)
    file.seek(0)
    return [flow for flow in FlowReader(file).stream() if isinstance(flow, HTTPFlow)]


def test_websocket_messages_are_in_the_flow_that_opened_them(tmp_path: Path) -> None:
    _, _, messages = messages_of(VARIANTS["websocket"](), tmp_path)
    found = [
        (m.content, m.from_client) for flow in flows_of(messages) if flow.websocket for m in flow.websocket.messages
    ]
    sent = [(m.body, m.side is Side.CLIENT) for _, m in messages if m and m.protocol is Protocol.WEBSOCKET]
    assert sorted(found) == sorted(sent)
    assert len(found) == 120


def test_a_body_that_is_not_all_there_is_left_out_and_the_flow_says_why(tmp_path: Path) -> None:
    _, _, messages = messages_of(VARIANTS["one_lost_small_writes"](), tmp_path)
    told = {flow.metadata["mutewatch.frame"]: (flow.comment, flow.request.raw_content) for flow in flows_of(messages)}
    assert told == {e.origin.frame: (m.lost or "", m.body) for e, m in messages if m}
    assert [comment for comment, _ in told.values() if comment] == ["bytes are missing"]


@pytest.mark.parametrize(
    ("port", "is_tls", "scheme"),
    [
        (80, None, "http"),
        (8080, None, "http"),
        (443, None, "https"),
        (8443, None, "https"),
        (8080, True, "https"),
        (12_345, False, "http"),
    ],
)
def test_a_flow_has_the_scheme_and_the_ports_of_its_connection(
    port: int, is_tls: bool | None, scheme: str, tmp_path: Path
) -> None:
    _, _, messages = messages_of(VARIANTS["plain"](), tmp_path)
    exchange, message = messages[0]
    there = replace(exchange, port=port, client_port=50_001, is_tls=is_tls)
    (flow,) = flows_of([(there, message)])
    assert (flow.request.scheme, flow.request.port) == (scheme, port)
    assert flow.client_conn.peername == ("192.0.2.7", 50_001)


@pytest.mark.live
def test_mitmdump_replays_the_flows(tmp_path: Path) -> None:
    _, _, messages = messages_of(VARIANTS["http2"](), tmp_path)
    path, again = tmp_path / "out.mitm", tmp_path / "again.mitm"
    with path.open("wb") as file:
        write_flow_dump(messages, file)
    code = "from mitmproxy.tools.main import mitmdump; mitmdump()"
    confdir = f"confdir={tmp_path / 'mitmproxy'}"
    command = [sys.executable, "-c", code, "-n", "-q", "-r", str(path), "-w", str(again), "--set", confdir]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    replayed = list(FlowDumpReader().read(again, ReadOptions()))
    assert asked(replayed) == asked([exchange for exchange, _ in messages])


# -- a small capture --------------------------------------------------------------------------------------------

CARVED = [
    "tls13",
    "pcap_with_noise",
    "pcapng_sections",
    "pcapng_interfaces",
    "dsb_last",
    "pcap_rotated",
    "vlan_ipv6",
    "pcapng_nano_be",
    "fragments_v4",
    "fragments_v4_reversed",
    "fragments_v6",
]


@pytest.mark.parametrize("name", CARVED)
def test_a_carved_capture_holds_its_flows_their_times_and_their_keys(name: str, tmp_path: Path) -> None:
    flows: list[Flow] = []
    paths, options, messages = messages_of(VARIANTS[name](), tmp_path, flows)
    small = tmp_path / "small.pcapng"
    with small.open("wb") as file:
        count = carve(paths, flow_keys(flows), options.keylogs, file)
    framing = check_framing(small)
    assert (framing.wholeness, framing.packets) == (Wholeness.COMPLETE, count)
    kept = CaptureReader().read(small, ReadOptions(is_host=HOST.__eq__))
    again = list(kept)
    assert asked(again) == asked([exchange for exchange, _ in messages])
    assert times(again) == times([exchange for exchange, _ in messages])
    one = flow_keys(flows[:1])
    with small.open("wb") as file:
        fewer = carve(paths, one, options.keylogs, file)
    assert 0 < fewer < count
    left: list[Flow] = []
    for _ in CaptureReader().read(small, ReadOptions(on_flow=left.append)):
        pass
    assert flow_keys(left) == one


def secrets_of(path: Path) -> KeyLog:
    """Return the secrets in the file."""
    found = KeyLog()
    source = open_source(path, DEFAULT_READ_LIMITS)

    def add(lines: bytes) -> None:
        found.add(lines)

    for _ in Walk(source, on_secrets=add).chunks():
        pass
    source.close()
    return found


@pytest.mark.parametrize("name", ["tls13", "tls12", "dsb_last", "proxy", "fragments_v4"])
def test_a_carved_capture_holds_the_secrets_of_its_own_sessions_only(name: str, tmp_path: Path) -> None:
    flows: list[Flow] = []
    paths, options, _ = messages_of(VARIANTS[name](), tmp_path, flows)
    others, small = tmp_path / "others.log", tmp_path / "small.pcapng"
    others.write_text(f"CLIENT_RANDOM {'ab' * 32} {'cd' * 48}\n")
    with small.open("wb") as file:
        carve(paths, flow_keys(flows[:1]), (*options.keylogs, others), file)
    secrets = secrets_of(small)
    assert secrets.sessions == 1
    assert bytes.fromhex("ab" * 32) not in secrets
    with small.open("wb") as file:
        carve(paths, set(), (*options.keylogs, others), file)
    assert secrets_of(small).sessions == 0


# -- a second opinion -------------------------------------------------------------------------------------------


def opinion(name: str, folder: Path, *, planted: bytes | None = None) -> Opinion:
    flows: list[Flow] = []
    paths, options, messages = messages_of(VARIANTS[name](), folder, flows)
    bodies = Counter(sha256(e.body).digest() for e, _ in messages if e.method and e.body)
    if planted is not None:
        del bodies[next(iter(bodies))]
        bodies[sha256(planted).digest()] += 1
    return second_opinion(paths, flows, bodies, options)


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
@pytest.mark.parametrize("name", ["tls13", "http2_tls12", "pcap_with_noise"])
def test_tshark_reads_the_same_bodies(name: str, tmp_path: Path) -> None:
    told = opinion(name, tmp_path)
    assert told == Opinion(60, 0, 0)
    assert str(told) == "tshark reads the same 60 bodies"


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
def test_what_tshark_does_not_find_is_said(tmp_path: Path) -> None:
    told = opinion("one_lost", tmp_path)
    assert told.only_tshark == 0
    assert str(told) == f"tshark reads the same {told.both} bodies; {59 - told.both} it does not find"


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
def test_a_difference_is_reported(tmp_path: Path) -> None:
    told = opinion("tls13", tmp_path, planted=b"what nobody sent")
    assert told == Opinion(59, 1, 1)
    assert str(told).endswith("59 bodies; 1 it does not find; 1 ONLY tshark finds: please report this")


def test_without_tshark_there_is_no_second_opinion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(OperatorError, match="--verify needs tshark: install it"):
        second_opinion([tmp_path], [], Counter(), ReadOptions())
