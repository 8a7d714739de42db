"""HAR files: what a HAR holds and nothing that its reader makes up."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.net import encoding

from mutewatch.errors import InputError
from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange
from pcap_tools.har import HarReader
from pcap_tools.limits import ReadLimits


def entry(text: str = "{}", **headers: str) -> dict[str, Any]:
    """Return an entry as browsers write it: a POST of JSON `text`."""
    named = {"Host": "Example.com", "Content-Type": "application/json", **headers}
    return {
        "startedDateTime": "2026-01-31T12:00:00.500Z",
        "time": 20,
        "request": {
            "method": "POST",
            "url": "https://example.com/metric?id=7",
            "httpVersion": "HTTP/1.1",
            "headers": [{"name": name.replace("_", "-"), "value": value} for name, value in named.items()],
            "postData": {"mimeType": "application/json", "text": text},
        },
        "response": {"status": 201, "httpVersion": "HTTP/1.1", "headers": [], "content": {"text": ""}},
    }


def har(*entries: object) -> bytes:
    return json.dumps({"log": {"version": "1.2", "entries": entries}}).encode()


def read_bytes(path: Path, data: bytes) -> tuple[list[Exchange], InputError | None]:
    path.write_bytes(data)
    found: list[Exchange] = []
    try:
        for exchange in HarReader().read(path, ReadOptions()):
            found.append(exchange)
    except InputError as error:
        return found, error
    return found, None


def test_an_entry_is_read_as_it_stands(tmp_path: Path) -> None:
    (exchange,), error = read_bytes(tmp_path / "x.har", har(entry('{"a":1}')))
    assert error is None
    assert (exchange.method, exchange.host, exchange.port) == ("POST", "example.com", 443)
    assert (exchange.path, exchange.query, exchange.body) == ("/metric", "id=7", b'{"a":1}')
    assert exchange.sent_at is not None and exchange.sent_at.isoformat() == "2026-01-31T12:00:00.500000+00:00"
    assert exchange.status == 201


def test_what_a_har_does_not_hold_is_not_reported(tmp_path: Path) -> None:
    (exchange,), _ = read_bytes(tmp_path / "x.har", har(entry()))
    assert (exchange.client, exchange.connection) == (None, None)


@pytest.mark.parametrize("status", [0, -1, None, "200", True])
def test_a_status_that_is_none_is_not_reported(tmp_path: Path, status: object) -> None:
    without = entry()
    without["response"]["status"] = status
    (exchange,), _ = read_bytes(tmp_path / "x.har", har(without))
    assert exchange.status is None


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"postData": {"mimeType": "a/b", "params": []}}, None),
        ({"postData": None, "bodySize": 7}, None),
        ({"postData": None, "bodySize": 0}, b""),
        ({"postData": None, "bodySize": -1}, b""),
    ],
)
def test_a_body_without_text_was_not_read(tmp_path: Path, changes: dict[str, Any], body: bytes | None) -> None:
    without = entry()
    without["request"].update(changes)
    (exchange,), _ = read_bytes(tmp_path / "x.har", har(without))
    assert exchange.body == body


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd", "unheard-of", ""])
def test_removing_the_content_encoding_gives_the_text(tmp_path: Path, name: str) -> None:
    text = '{"caf\u00e9": 1}'
    (exchange,), _ = read_bytes(tmp_path / "x.har", har(entry(text, Content_Encoding=name)))
    assert encoding.decode(exchange.body, exchange.content_encoding or "identity") == text.encode()


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b"\n  "])
def test_a_har_is_known_by_its_first_key(tmp_path: Path, prefix: bytes) -> None:
    data = prefix + har(entry())
    assert HarReader().sniff(data)
    assert len(read_bytes(tmp_path / "x.har", data)[0]) == 1


@pytest.mark.parametrize("bad", [None, 7, "x", [], {}, {**entry(), "request": 7}, {**entry(), "startedDateTime": "x"}])
def test_a_bad_entry_costs_only_itself(tmp_path: Path, bad: object) -> None:
    found, error = read_bytes(tmp_path / "x.har", har(entry(), bad, entry()))
    assert [e.origin.ordinal for e in found] == [1, 3]
    assert error is not None and "entry 2" in str(error)


def test_a_cut_har_gives_the_entries_before_the_cut(tmp_path: Path) -> None:
    whole = har(entry("one"), entry("two"), entry("three"))
    found, error = read_bytes(tmp_path / "x.har", whole[: whole.index(b"three")])
    assert [e.body for e in found] == [b"one", b"two"]
    assert error is not None and error.offset is not None


def test_bytes_that_are_no_text_end_the_reading_there(tmp_path: Path) -> None:
    whole = har(entry("one"), entry("two")).replace(b"two", b"t\xff")
    found, error = read_bytes(tmp_path / "x.har", whole)
    assert [e.body for e in found] == [b"one"]
    assert error is not None and error.offset == whole.index(b"\xff")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"log":7}',
        b'{"log":{}}',
        b'{"log":{"entries":{}}}',
        b'{"log":' + b"[" * 100_000,
        b'{"log":{"entries":[' + b'{"a":' * 100_000,
        b'{"log":{"entries":[{"a":' + b"9" * 5_000 + b"}]}}",
        b"\xff\xfe{\x00",
    ],
)
def test_what_is_no_har_is_one_input_error(tmp_path: Path, data: bytes) -> None:
    found, error = read_bytes(tmp_path / "x.har", data)
    assert found == [] and error is not None


def test_a_har_above_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.har"
    path.write_bytes(har(entry()))
    with pytest.raises(InputError, match="more than 100 bytes"):
        list(HarReader(ReadLimits(har_file=100)).read(path, ReadOptions()))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_wrong_types_raise_nothing_but_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    changed = {**socket_entry(sent("1"), sent("2")), **entry()}
    answer, first = changed["response"], changed["_webSocketMessages"][0]
    part = data.draw(
        st.sampled_from([changed, changed["request"], answer, answer["content"], changed["request"]["postData"], first])
    )
    part[data.draw(st.sampled_from(sorted(part)))] = data.draw(JSON)
    path = tmp_path_factory.getbasetemp() / "wrong.har"
    path.write_bytes(har(changed))
    with contextlib.suppress(InputError):
        list(HarReader().read(path, ReadOptions(wants_answer=lambda *_: True)))


def socket_entry(*messages: object, **more: object) -> dict[str, Any]:
    """Return an entry of a websocket as Chrome writes it."""
    opened = entry()
    opened["request"].update(method="GET", url="wss://example.com/socket?k=1", postData=None)
    opened["response"]["status"] = 101
    return {**opened, "_resourceType": "websocket", "_webSocketMessages": list(messages), **more}


def sent(data: object, *, opcode: object = 1, time: object = 1_770_000_000.25, kind: object = "send") -> dict[str, Any]:
    return {"type": kind, "time": time, "opcode": opcode, "data": data}


def test_websocket_messages_come_behind_the_request_that_opened_them_with_their_direction(tmp_path: Path) -> None:
    text, binary = sent("caf\u00e9"), sent("AAH/", opcode=2, kind="receive", time=1_770_000_001)
    (opened, *messages), error = read_bytes(tmp_path / "x.har", har(socket_entry(text, binary)))
    assert error is None
    assert (opened.method, opened.status, opened.port) == ("GET", 101, 443)
    assert [(m.method, m.host, m.path, m.query, m.status) for m in messages] == [
        ("WEBSOCKET", "example.com", "/socket", "k=1", None)
    ] * 2
    assert [(m.direction, m.body) for m in messages] == [
        ("to-server", "caf\u00e9".encode()),
        ("to-client", b"\0\1\xff"),
    ]
    assert [m.sent_at and m.sent_at.timestamp() for m in messages] == [1_770_000_000.25, 1_770_000_001]


@pytest.mark.parametrize(
    ("bad", "body", "has_time"),
    [
        (sent("A", opcode=2), None, True),
        (sent(7), None, True),
        (sent("\ud800"), None, True),
        (sent("one", opcode=3), None, True),
        (sent("one", time="today"), b"one", False),
        (sent("one", time=1e300), b"one", False),
        (sent("one", time=float("nan")), b"one", False),
    ],
)
def test_what_is_damaged_in_a_websocket_message_costs_only_that(
    tmp_path: Path, bad: object, body: bytes | None, has_time: bool
) -> None:
    (_, first, damaged, last), error = read_bytes(tmp_path / "x.har", har(socket_entry(sent("1"), bad, sent("3"))))
    assert error is None
    assert (damaged.body, damaged.sent_at is not None) == (body, has_time)
    assert (first.body, last.body) == (b"1", b"3")


@pytest.mark.parametrize("bad", [7, None, [], {}, sent("x", kind="said"), sent("x", kind=["send"])])
def test_a_websocket_message_of_nobody_is_named(tmp_path: Path, bad: object) -> None:
    found, error = read_bytes(tmp_path / "x.har", har(entry(), socket_entry(sent("1"), bad, sent("3")), entry()))
    assert [exchange.body for exchange in found] == [b"{}", b"", b"1", b"3", b"{}"]
    assert error is not None
    assert "entry 2: websocket message 2 does not say who sent it; 1 of 3 were not read" in str(error)


def test_messages_that_are_no_list_are_named(tmp_path: Path) -> None:
    found, error = read_bytes(tmp_path / "x.har", har(socket_entry(_webSocketMessages={})))
    assert len(found) == 1 and "_webSocketMessages is not a list" in str(error)


def test_control_frames_and_chromes_errors_are_no_messages(tmp_path: Path) -> None:
    others = [sent("", opcode=opcode) for opcode in (8, 9, 10)] + [sent("net::ERR", opcode=-1, kind="error")]
    found, error = read_bytes(tmp_path / "x.har", har(socket_entry(*others)))
    assert (len(found), error) == (1, None)


def test_two_equal_messages_at_one_time_are_two(tmp_path: Path) -> None:
    (_, *messages), _ = read_bytes(tmp_path / "x.har", har(socket_entry(*[sent("same")] * 3)))
    times = [message.sent_at for message in messages]
    assert len(set(times)) == 3 and times == sorted(times, key=lambda at: at.timestamp() if at else 0)


@pytest.mark.parametrize(("name", "is_known"), [("77", True), ("443", False), ("", False), (7, False)])
def test_the_connection_is_that_of_the_entry_and_a_websockets_is_its_own(
    tmp_path: Path, name: object, is_known: bool
) -> None:
    path = tmp_path / "x.har"
    found, _ = read_bytes(path, har({**entry(), "connection": name}, socket_entry(sent("1"), connection=name)))
    named = f"{path}#77" if is_known else None
    assert [exchange.connection for exchange in found] == [named, *[named or f"{path}#entry 2"] * 2]


@pytest.mark.parametrize(
    ("content", "body"),
    [
        ({"text": '{"a":1}'}, b'{"a":1}'),
        ({"text": "AAH/", "encoding": "base64"}, b"\0\1\xff"),
        ({"text": "A", "encoding": "base64"}, None),
        ({"size": 7}, None),
        ({"size": 0}, b""),
        (None, None),
    ],
)
def test_the_body_of_an_answer_is_an_exchange_where_it_is_wanted(
    tmp_path: Path, content: object, body: bytes | None
) -> None:
    answered = entry()
    answered["response"].update(content=content, headers=[{"name": "Content-Encoding", "value": "gzip"}])
    path = tmp_path / "x.har"
    path.write_bytes(har(answered))
    wanted = ReadOptions(
        wants_answer=lambda method, host, path: (method, host, path) == ("POST", "example.com", "/metric")
    )
    request, answer = HarReader().read(path, wanted)
    assert (answer.method, answer.path, answer.status, answer.direction) == ("POST", "/metric", 201, "to-client")
    assert (answer.body, answer.content_encoding) == (body, None)
    assert request.sent_at and answer.sent_at and (answer.sent_at - request.sent_at).total_seconds() == 0.02
    assert len(list(HarReader().read(path, ReadOptions()))) == 1


def test_what_was_not_answered_has_no_answer(tmp_path: Path) -> None:
    silent = entry()
    silent["response"]["status"] = 0
    path = tmp_path / "x.har"
    path.write_bytes(har(silent))
    assert len(list(HarReader().read(path, ReadOptions(wants_answer=lambda *_: True)))) == 1
