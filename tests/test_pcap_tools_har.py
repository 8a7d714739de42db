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
def test_a_body_without_text_was_not_read(
    tmp_path: Path, changes: dict[str, Any], body: bytes | None
) -> None:
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


@pytest.mark.parametrize(
    "bad", [None, 7, "x", [], {}, {**entry(), "request": 7}, {**entry(), "startedDateTime": "x"}]
)
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
    changed = entry()
    part = data.draw(
        st.sampled_from([changed, changed["request"], changed["response"], changed["request"]["postData"]])
    )
    part[data.draw(st.sampled_from(sorted(part)))] = data.draw(JSON)
    path = tmp_path_factory.getbasetemp() / "wrong.har"
    path.write_bytes(har(changed))
    with contextlib.suppress(InputError):
        list(HarReader().read(path, ReadOptions()))
