"""Fifty marks in a meeting, wherever it tells whose it is: none is found in what mutewatch keeps or prints."""

import base64
import gzip
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from addons.launch import addon_path
from mutewatch.commands.export import FORMATS, export
from mutewatch.commands.output import Format
from mutewatch.commands.page import write_page
from mutewatch.commands.report import report
from mutewatch.commands.scan import ScanOptions, scan
from mutewatch.compose import PipelineOptions
from mutewatch.config import StateDirectory
from mutewatch.records import Verdict
from mutewatch.report.build import ReportOptions
from mutewatch.report.payload import Role
from mutewatch.store import Store
from tests.canary_marks import MARKS, Sent, found_in, leaks, meeting
from tests.captures.conversations import HOST, OK, PERIOD, Line, converse
from tests.captures.files import pcap
from tests.captures.links import frames
from tests.captures.openssl import Settings
from tests.captures.packets import segments
from tests.live_support import Scene

START = datetime(2026, 3, 2, 9, tzinfo=UTC)


def written_report(output_format: Format, store: Path, folder: Path) -> None:
    report(store, output_format, folder / f"report.{output_format}")


def written_export(output_format: str, store: Path, folder: Path) -> None:
    export(store, output_format, folder / f"export.{output_format}", verdicts=tuple(Verdict), with_guesses=True)


def written_page(role: Role, store: Path, folder: Path) -> None:
    write_page(store, folder / f"{role}.html", ReportOptions(role=role), folder / "state")


# Whatever writes findings somewhere: given a store and a folder, it leaves its files there.
OUTPUTS: tuple[Callable[[Path, Path], None], ...] = (
    *(partial(written_report, chosen) for chosen in (Format.TABLE, Format.JSONL, Format.CSV)),
    *(partial(written_export, chosen) for chosen in FORMATS),
    *(partial(written_page, role) for role in Role),
)


def request(sent: Sent) -> bytes:
    lines = [f"{sent.method} {sent.target} HTTP/1.1", f"Host: {sent.host}", f"Content-Length: {len(sent.body)}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in sent.headers), "", ""]).encode() + sent.body


def as_capture(folder: Path) -> tuple[Path, tuple[Path, ...]]:
    def talk(line: Line, _texts: list[bytes]) -> list[bytes]:
        for sent in meeting(START):
            line.say(True, request(sent))
            line.say(False, OK)
            line.now += PERIOD
        return []

    made = converse(Settings(), talk, flows=1, host=HOST)
    (folder / "meeting.pcap").write_bytes(pcap(frames(segments(made))))
    (folder / "keys.log").write_bytes(made.keylog)
    return folder / "meeting.pcap", (folder / "keys.log",)


def as_har(folder: Path) -> tuple[Path, tuple[Path, ...]]:
    entries = [
        {
            "startedDateTime": sent.at.isoformat(),
            "time": 1,
            "request": {
                "method": sent.method,
                "url": f"https://{sent.host}{sent.target}",
                "httpVersion": "HTTP/1.1",
                "headers": [{"name": name, "value": value} for name, value in sent.headers],
                "postData": {"mimeType": "application/json", "text": sent.body.decode()},
            },
            "response": {"status": 200, "headers": [], "content": {}},
        }
        for sent in meeting(START)
    ]
    (folder / "meeting.har").write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}))
    return folder / "meeting.har", ()


def as_exchange_log(folder: Path) -> tuple[Path, tuple[Path, ...]]:
    rows = []
    for sent in meeting(START):
        path, _, query = sent.target.partition("?")
        row = {"sent_at": sent.at.isoformat(), "client": "192.0.2.10", "host": sent.host, "port": 443}
        row |= {"method": sent.method, "path": path, "query": query, "status": 200, "body": sent.body.decode()}
        row["content_encoding"] = dict(sent.headers).get("Content-Encoding")
        rows.append(json.dumps(row))
    (folder / "meeting.jsonl").write_text("\n".join(rows) + "\n")
    return folder / "meeting.jsonl", ()


def test_all_fifty_marks_are_in_the_meeting_and_would_be_found() -> None:
    raw = b"".join(request(sent) for sent in meeting(START))
    packed = re.findall(rb'"gzipb64data": "([A-Za-z0-9+/]+=*)"}', raw)
    raw += b"".join(gzip.decompress(base64.b64decode(text)) for text in packed)
    assert found_in(raw) == set(MARKS)
    assert len(set(MARKS)) == 50


@pytest.mark.parametrize(
    "form", [str.upper, lambda m: m.encode().hex(), lambda m: base64.b64encode(f"a {m} b".encode()).decode()]
)
def test_a_mark_is_found_in_other_forms(form: Callable[[str], str]) -> None:
    assert found_in(f"some {form(MARKS[7])} text".encode()) == {MARKS[7]}


@pytest.mark.parametrize("door", [as_capture, as_har, as_exchange_log])
def test_no_mark_is_in_what_a_scan_keeps_and_prints(
    door: Callable[[Path], tuple[Path, tuple[Path, ...]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    path, keylogs = door(tmp_path / "in")
    store = tmp_path / "out/store"
    for output_format in (Format.TABLE, Format.JSONL, Format.CSV):
        scan([path], ScanOptions(tmp_path / "out/state", keylogs, output_format, store=store), PipelineOptions())
    with Store(store) as opened:  # open while it is searched: its log and shared memory are there, too
        verdicts = {finding.verdict.value for finding in opened.findings()}
        for write in OUTPUTS:
            write(store, tmp_path / "out")
        assert leaks([tmp_path / "out"], [*capsys.readouterr()]) == {}
    assert verdicts >= {"flagged", "undecoded"}


def test_where_names_are_asked_for_the_marks_are_there(tmp_path: Path) -> None:
    path, _ = as_exchange_log(tmp_path)
    out = tmp_path / "out.jsonl"
    scan([path], ScanOptions(tmp_path / "state", output=out, format=Format.JSONL), PipelineOptions(show_clients=True))
    assert leaks([out]) == {str(out): {MARKS[0], MARKS[1]}}  # the call and the user


@pytest.mark.live
def test_no_mark_is_in_what_the_live_proxy_keeps_and_prints(live: Scene) -> None:
    with live.proxy(script=addon_path()) as proxy:
        for sent in meeting(datetime.now(UTC)):
            if sent.host not in ("tsa3.webex.com", "locus-a.wbx2.com"):
                continue
            connection = proxy.connect(sent.host)
            connection.request("POST", sent.target, sent.body, dict(sent.headers))
            connection.getresponse().read()
            connection.close()
        proxy.wait_status(messages=8)
        folder = live.folder / "state"
        assert leaks([folder], [proxy.text()]) == {}
        for write in OUTPUTS:
            write(StateDirectory(folder).store, live.folder)
    written = [*live.folder.glob("report.*"), *live.folder.glob("export.*"), *live.folder.glob("*.html")]
    assert len(written) == len(OUTPUTS)
    assert leaks([folder, *written], [proxy.text()]) == {}
