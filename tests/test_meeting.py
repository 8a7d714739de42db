"""The sample meeting: played over real TLS it arrives whole, and the bundled files are what it wrote."""

from collections import Counter
from pathlib import Path

import pytest
import trustme
from msgspec.structs import replace

from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange
from mutewatch.report.payload import SAMPLE
from pcap_tools import reader_for
from tests.meeting.client import client_context, connect_directly, connect_through, play
from tests.meeting.record import record
from tests.meeting.script import LOCUS, METRICS, OTHER, TSA, meeting, truth
from tests.meeting.server import MeetingServer, connect_proxy


@pytest.mark.parametrize("through_proxy", [False, True])
def test_the_server_receives_the_script_in_order(tmp_path: Path, through_proxy: bool) -> None:
    messages, authority = meeting(), trustme.CA()
    pem = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(pem))
    server, context = MeetingServer(authority, messages), client_context(str(pem))
    with server.running() as port, connect_proxy(port) as proxy_port:
        connect = connect_through(proxy_port) if through_proxy else connect_directly(port)
        statuses = play(messages, connect, lambda _host: context)
    assert statuses == [message.status for message in messages]
    assert [(r.method, r.host, r.path, r.body) for r in server.received] == [
        (m.method, m.host, m.path, m.body) for m in messages
    ]


def test_the_script_has_what_a_judge_must_cope_with() -> None:
    assert Counter(message.host for message in meeting()) == {TSA: 21, LOCUS: 6, METRICS: 3, OTHER: 2}
    assert Counter(minute.verdict for minute in truth()) == {"flagged": 16, "unmuted": 3, "missing": 1}
    assert meeting() == meeting()
    assert meeting(seed=2) != meeting()


def exchanges(path: Path) -> list[Exchange]:
    """What a door reads, less the path of the file."""
    read = reader_for(path).read(path, ReadOptions())
    return [replace(one, origin=replace(one.origin, file=path.name)) for one in read]


@pytest.mark.parametrize("name", ["meeting.har", "meeting.mitm", "meeting.jsonl"])
def test_the_bundled_files_are_the_scripts(tmp_path: Path, name: str) -> None:
    """Not byte for byte: the formats of mitmproxy 11 and 12 differ. `make sample` writes them anew."""
    record(tmp_path)
    assert exchanges(tmp_path / name) == exchanges(SAMPLE / name)


def test_the_capture_carries_its_secrets() -> None:
    assert b"CLIENT_TRAFFIC_SECRET_0 " in (SAMPLE / "meeting.pcapng").read_bytes()[:4096]
