"""The x64dbg log reader: every message once, whatever the debugger made of it."""

import io
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange, Origin
from pcap_tools.api_log import ApiLogReader
from pcap_tools.limits import ReadLimits

POST = b"POST /metric?id=7 HTTP/1.1"
A, B = b'{\n   "a" : 1\n}', b'{"b":2}'
NOISE = b"\n\x10\x04)Y:9\n\x10\x04\x1e)Y\xff\xfe\n"


def read_bytes(folder: Path, log: bytes, reader: ApiLogReader | None = None) -> list[Exchange]:
    path = folder / "hook.log"
    path.write_bytes(log)
    return list((reader or ApiLogReader()).read(path, ReadOptions()))


@pytest.mark.parametrize(
    ("case", "log", "bodies"),
    [
        ("empty", b"", []),
        ("no message", b"Thread 1DFC created\n", []),
        ("body behind the request line", POST + A, [A]),
        ("the debugger's lines do not belong to a body", POST + A + NOISE + POST + B, [A, B]),
        ("residue stays", POST + A + b'\n\x15},"interval\n' + POST, [A + b'\n\x15},"interval', None]),
        ("failed read", POST + b"Failed to read memory...\n" + POST + B, [None, B]),
        ("body behind a failed read", POST + b"Failed to read memory..." + B, [B]),
        ("control bytes and a brace, no body", POST + b"\x10\x04Z)Y:9{\n\x10\x04" + NOISE, [None]),
        ("control bytes before the body", POST + b"\x10\x04" + A, [A]),
        ("body far below", POST + NOISE * 40 + A, [A]),
        ("two bodies", POST + NOISE + A + NOISE + b"Failed to read memory...\n" + B, [A, B]),
        ("cut", POST + b'{\n "a" : "H4sI\nLog will be redirected to C:\\x\n', [b'{\n "a" : "H4sI']),
        ("body before any request line", B + NOISE + POST + A, [B, A]),
        ("invalid UTF-8", b"\xff\xfe" + POST + b'{"a":"\xff"}', [b'{"a":"\xff"}']),
        ("a brace elsewhere in a line is no body", b"GET / HTTP/1.1\n" + POST + b" " + A, [None]),
        ("other methods with a body", b"PUT /loci/1/media HTTP/1.1" + B, [B]),
    ],
)
def test_each_message_is_yielded_with_its_body(
    tmp_path: Path, case: str, log: bytes, bodies: list[bytes | None]
) -> None:
    found = [exchange.body for exchange in read_bytes(tmp_path, log)]
    assert [body and body.rstrip(b"\n") for body in found] == bodies, case


def test_an_exchange_says_what_the_log_says_and_nothing_else(tmp_path: Path) -> None:
    log = NOISE + POST + A
    (exchange,) = read_bytes(tmp_path, log)
    assert (exchange.method, exchange.path, exchange.query) == ("POST", "/metric", "id=7")
    assert (exchange.sent_at, exchange.client, exchange.host, exchange.status) == (None, None, None, None)
    assert exchange.origin == Origin("api-log", exchange.origin.file, ordinal=1, offset=log.index(b"{"))


def test_the_offset_of_a_message_without_body_is_its_request_line(tmp_path: Path) -> None:
    assert [e.origin.offset for e in read_bytes(tmp_path, NOISE + POST + NOISE)] == [len(NOISE)]


def test_a_second_body_has_the_request_line_above_it(tmp_path: Path) -> None:
    assert [e.path for e in read_bytes(tmp_path, POST + A + b"\n" + B)] == ["/metric", "/metric"]


def test_a_body_is_cut_one_byte_above_the_limit(tmp_path: Path) -> None:
    reader = ApiLogReader(ReadLimits(body=100))
    (exchange,) = read_bytes(tmp_path, POST + b'{"a":"' + b"x" * 100_000, reader)
    assert len(exchange.body or b"") == 101


PARTS = [POST, A, B, NOISE, b"\n", b"{", b'"', b"Failed to read memory..."]


@given(st.lists(st.sampled_from(PARTS)), st.integers(1, 64))
def test_fed_in_pieces_equals_fed_at_once(parts: list[bytes], chunk: int) -> None:
    log = b"".join(parts)
    at_once, in_pieces = (
        list(reader._messages(reader._pieces(io.BytesIO(log), ReadOptions())))
        for reader in (ApiLogReader(), ApiLogReader(chunk=chunk))
    )
    assert in_pieces == at_once


@given(st.binary(max_size=2_000))
def test_random_bytes_raise_nothing(tmp_path_factory: pytest.TempPathFactory, log: bytes) -> None:
    read_bytes(tmp_path_factory.getbasetemp(), log)


@pytest.mark.shared
def test_the_real_log_is_read_completely(shared: Path) -> None:
    """713 request lines; 618 have a body, 95 none, and 2 bodies stand where a request line was lost."""
    path = shared / "data/webex/xdbg_log_first_half.txt"
    exchanges = list(ApiLogReader().read(path, ReadOptions()))
    assert Counter(e.body is not None for e in exchanges) == {True: 620, False: 95}
    assert all((e.body or b'{\n   "telemetrics"').startswith(b'{\n   "telemetrics"') for e in exchanges)
    assert {e.path for e in exchanges} == {"/metric/v1"}


@pytest.mark.shared
def test_one_body_of_the_real_log_is_damaged(shared: Path) -> None:
    exchanges = ApiLogReader().read(shared / "data/webex/xdbg_log_first_half.txt", ReadOptions())
    assert [e.origin.offset for e in exchanges if e.body and not _first_value_parses(e.body)] == [317_544]


def _first_value_parses(body: bytes) -> bool:
    try:
        json.JSONDecoder().raw_decode(body.decode("utf-8", "replace"))
    except ValueError:
        return False
    return True
