"""The exchange log: what is written comes back, and a bad line costs only itself."""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutewatch.errors import InputError
from mutewatch.ports import ReadOptions
from mutewatch.records import Direction, Exchange, Origin
from pcap_tools.exchange_log import ExchangeLogReader, exchange_line, parse_exchange, write_exchanges
from pcap_tools.limits import ReadLimits

ORIGIN = Origin("exchange-log", "x.jsonl", ordinal=1, offset=0)
GOOD = b'{"method":"POST","path":"/a"}\n'

exchanges = st.builds(
    Exchange,
    sent_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    client=st.none() | st.text(),
    host=st.none() | st.text(),
    port=st.none() | st.integers(0, 65_535),
    method=st.text(),
    path=st.text(),
    query=st.text(),
    body=st.none() | st.binary() | st.text().map(str.encode),
    origin=st.just(ORIGIN),
    content_encoding=st.none() | st.text(),
    status=st.none() | st.integers(100, 599),
    direction=st.sampled_from(Direction),
    connection=st.none() | st.text(),
    client_port=st.none() | st.integers(0, 65_535),
)


@given(exchanges)
def test_what_is_written_comes_back(exchange: Exchange) -> None:
    assert parse_exchange(exchange_line(exchange).encode(), ORIGIN) == exchange


def test_a_file_comes_back_with_its_own_origins(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    written = [Exchange(None, None, None, None, "POST", f"/{n}", "", None, ORIGIN) for n in range(3)]
    assert write_exchanges(path, written) == 3
    found = list(ExchangeLogReader().read(path, ReadOptions()))
    assert [e.path for e in found] == ["/0", "/1", "/2"]
    assert [(e.origin.file, e.origin.ordinal) for e in found] == [
        (str(path), 1),
        (str(path), 2),
        (str(path), 3),
    ]


def test_a_written_file_is_private(tmp_path: Path) -> None:
    write_exchanges(tmp_path / "x.jsonl", [])
    assert (tmp_path / "x.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({}, None),
        ({"body": None}, None),
        ({"body": ""}, b""),
        ({"body": "\u00e9"}, b"\xc3\xa9"),
        ({"body_base64": "/w=="}, b"\xff"),
    ],
)
def test_the_body_is_text_or_base64_or_not_read(fields: dict[str, object], body: bytes | None) -> None:
    line = json.dumps({"method": "POST", "path": "/", **fields}).encode()
    assert parse_exchange(line, ORIGIN).body == body


def test_a_time_with_another_offset_is_read_as_utc() -> None:
    line = b'{"method":"POST","path":"/","sent_at":"2026-01-31T13:00:00+01:00"}'
    assert parse_exchange(line, ORIGIN).sent_at == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"[]",
        b"7",
        b"\xff\xfe",
        b"{}",
        b'{"method":"POST"}',
        b'{"method":7,"path":"/"}',
        b'{"method":"POST","path":"/","port":"443"}',
        b'{"method":"POST","path":"/","port":true}',
        b'{"method":"POST","path":"/","status":200.0}',
        b'{"method":"POST","path":"/","sent_at":"2026-01-31T12:00:00"}',
        b'{"method":"POST","path":"/","sent_at":"yesterday"}',
        b'{"method":"POST","path":"/","sent_at":"0001-01-01T00:00:00+23:59"}',
        b'{"method":"POST","path":"/","direction":"up"}',
        b'{"method":"POST","path":"/","body_base64":"?"}',
        b'{"method":"POST","path":"/","body":"a","body_base64":"YQ=="}',
        b'{"method":"POST","path":"/","body":"\\ud800"}',
        b'{"method":"POST","path":"/","x":' + b"[" * 100_000,
        b'{"method":"POST","path":"/","port":' + b"9" * 5_000 + b"}",
    ],
)
def test_a_bad_line_is_named_and_its_neighbours_are_read(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(GOOD + line + b"\n" + GOOD)
    reading = ExchangeLogReader().read(path, ReadOptions())
    assert [next(reading).origin.offset, next(reading).origin.offset] == [0, len(GOOD) + len(line) + 1]
    with pytest.raises(InputError, match=r"byte 30: line 2: .* \(1 line was not read\)"):
        next(reading)


def test_a_line_above_the_limit_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(GOOD + b'{"x":"' + b"y" * 1_000 + b"\n" + GOOD)
    reading = ExchangeLogReader(ReadLimits(line=100)).read(path, ReadOptions())
    assert [next(reading).path, next(reading).path] == ["/a", "/a"]
    with pytest.raises(InputError, match="line 2: longer than 100 bytes"):
        next(reading)


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_an_input_error(tmp_path_factory: pytest.TempPathFactory, log: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.jsonl"
    path.write_bytes(GOOD + log)
    reading = ExchangeLogReader().read(path, ReadOptions())
    assert next(reading).path == "/a"
    with contextlib.suppress(InputError):
        list(reading)
