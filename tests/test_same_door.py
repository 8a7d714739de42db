"""One meeting, five doors, the same findings: nothing after the door knows where an exchange came from.

The live door is a real `mutewatch live` process between a real TLS client and a real TLS server; its clock is
moved along with the script's, so that it sees the meeting's times.
"""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from mutewatch.compose import PipelineOptions, build_pipeline
from mutewatch.config import open_state
from mutewatch.ports import ReadOptions
from mutewatch.records import Finding
from mutewatch.report.payload import SAMPLE
from mutewatch.sinks.record import finding_record
from mutewatch.store import Store
from pcap_tools import read_inputs
from tests.meeting.client import client_context, connect_through, play
from tests.meeting.script import OTHER, Message, meeting, truth
from tests.meeting.server import MeetingServer, connect_proxy

DOOR_FIELDS = ("origin", "wireshark_filter", "address", "seen_at")  # where and when it was seen; all else must agree
START_SECONDS = 60

NO_CHECK_TIME = ssl.VerifyFlags(0x200000)  # OpenSSL: X509_V_FLAG_NO_CHECK_TIME


def plain(findings: list[Finding]) -> list[dict[str, Any]]:
    """Findings as records, by minute, less what belongs to the door."""
    records = [finding_record(finding) for finding in sorted(findings, key=lambda f: int(f.minute))]
    return [{name: value for name, value in record.items() if name not in DOOR_FIELDS} for record in records]


def scanned(name: str, state: Path, engine: str = "native") -> list[dict[str, Any]]:
    pipeline = build_pipeline(open_state(state), PipelineOptions(show_clients=True))
    for exchange in read_inputs([SAMPLE / name], ReadOptions(), engine=engine):
        pipeline.feed(exchange)
    return plain(pipeline.finish())


@pytest.fixture
def expected(tmp_path: Path) -> list[dict[str, Any]]:
    return scanned("meeting.jsonl", tmp_path / "expected")


def test_the_meeting_is_judged_as_its_script_says(expected: list[dict[str, Any]]) -> None:
    found = [(int(f["minute"]), f["verdict"], round(f["muted_seconds"])) for f in expected]
    assert found == [(minute.number, minute.verdict, minute.muted_seconds) for minute in truth()]


@pytest.mark.parametrize("name", ["meeting.har", "meeting.mitm"])
def test_har_and_flow_dump_give_the_same_findings(name: str, expected: list[dict[str, Any]], tmp_path: Path) -> None:
    assert scanned(name, tmp_path / "state") == expected


def test_the_capture_gives_the_same_findings(expected: list[dict[str, Any]], tmp_path: Path) -> None:
    assert scanned("meeting.pcapng", tmp_path / "state") == expected


@pytest.mark.tshark
def test_the_capture_read_by_tshark_gives_the_same_findings(
    expected: list[dict[str, Any]], tmp_path: Path, tshark: str
) -> None:
    assert tshark
    assert scanned("meeting.pcapng", tmp_path / "state", "tshark") == expected


@pytest.mark.live
def test_the_live_proxy_gives_the_same_findings(expected: list[dict[str, Any]], tmp_path: Path) -> None:
    messages, authority, state = meeting(), trustme.CA(), tmp_path / "state"
    upstream_ca = tmp_path / "upstream.pem"
    authority.cert_pem.write_to_path(str(upstream_ca))
    server, clock = MeetingServer(authority, messages), Clock(tmp_path / "clock")
    clock.set(messages[0])
    with (
        server.running() as server_port,
        connect_proxy(server_port) as relay_port,
        live_proxy(state, relay_port, upstream_ca, clock.environment()) as port,
    ):
        own_ca = state / "authority" / "root.pem"

        def context_for(host: str) -> ssl.SSLContext:
            # the host that no signature names must show its own certificate, not the proxy's
            context = client_context(str(upstream_ca if host == OTHER else own_ca))
            context.verify_flags |= NO_CHECK_TIME  # the proxy's clock, and its leaf, are at the time of the meeting
            return context

        statuses = play(messages, connect_through(port), context_for, before_each=clock.set)
    assert statuses == [message.status for message in messages]
    assert [r.body for r in server.received] == [message.body for message in messages]
    with Store(state / "mutewatch.db") as store:
        assert plain(list(store.findings())) == expected


class Clock:
    """Tells the proxy what time it is: the script's, running on at its own pace from there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def set(self, message: Message) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(str(message.at.timestamp() - time.time()), encoding="ascii")
        new.replace(self._path)

    def environment(self) -> dict[str, str]:
        """For a process that is to live by this clock (see meeting/clock/sitecustomize.py).

        What asks for the date goes on by the real one, so nothing may be deleted for its age.
        """
        folder = Path(__file__).parent / "meeting" / "clock"
        path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
        return {"PYTHONPATH": path, "MEETING_CLOCK": str(self._path), "MUTEWATCH_RETENTION_MINUTES_DAYS": "3650"}


@contextmanager
def live_proxy(state: Path, relay_port: int, upstream_ca: Path, environment: dict[str, str]) -> Iterator[int]:
    """Run `mutewatch live` until the context ends; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mutewatch.cli",
        "live",
        "--activity",
        "--state",
        str(state),
        "--listen-port",
        str(port),
    ]
    command += ["--mode", f"upstream:http://127.0.0.1:{relay_port}", "--show-clients"]
    command += ["--set", f"ssl_verify_upstream_trusted_ca={upstream_ca}"]
    with subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _listens(port):
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < deadline, "the proxy did not start"
                time.sleep(0.1)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
