"""Every number of a body is found, whatever it is packed in, at a place that names nobody."""

import base64
import gzip
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mutewatch.discover.gather import Gatherer
from mutewatch.discover.limits import DiscoverLimits
from mutewatch.discover.panel import panels
from mutewatch.discover.place import path_template, show, shown_key
from mutewatch.discover.walk import Walked, Walker
from mutewatch.limits import Limits
from mutewatch.records import Direction
from tests.discover_scene import message, post


def walked(body: bytes, walker: Walker | None = None, at: float = 0.0) -> Walked:
    return (walker or Walker()).walk(message(at, body), "socket")


def found(body: bytes, walker: Walker | None = None) -> dict[str, float]:
    return {show(place): value for place, value, _ in walked(body, walker).readings}


def packed(value: Any) -> str:
    return base64.b64encode(gzip.compress(json.dumps(value).encode(), mtime=0)).decode()


def varint(number: int) -> bytes:
    more, last = divmod(number, 128)
    return bytes([128 + last]) + varint(more) if more else bytes([last])


def delimited(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


BODIES = {
    "plain": (b'{"a":{"level":0.5,"on":true,"who":"jane","none":null}}', {"a.level": 0.5, "a.on": 1}),
    "a list": (b'[{"level":1}]', {"[].level": 1}),
    "residue of memory behind it": (b'{"a":1}\nndTripTime":16,', {"a": 1}),
    "lines": (b'{"a":1}\n{"a":2}\n', {"{lines}.a": 2}),
    "JSON in a string": (json.dumps({"d": json.dumps({"a": 1})}).encode(), {"d{json}.a": 1}),
    "base64 of gzip of JSON": (json.dumps({"v": packed({"a": 1})}).encode(), {"v{base64}{gzip}.a": 1}),
    "base64 of JSON": (
        b'{"v":"eyJhIjogMSwgImIiOiAyLCAiYyI6IDN9"}',
        {f"v{{base64}}.{key}": n for n, key in enumerate("abc", 1)},
    ),
    "gzip": (gzip.compress(b'{"a":1}', mtime=0), {"{gzip}.a": 1}),
    "a form": (b"v=1&level=-31.5&user=jane%40example.test", {"v": 1, "level": -31.5}),
    "JSON in a form": (b"level=1&data=%7B%22a%22%3A2%7D", {"level": 1, "data{json}.a": 2}),
    "numbers in strings": (b'{"level":"-57.6","date":"2026-03-02","id":"00ff"}', {"level": -57.6}),
    "Socket.IO": (b'42["stats",{"level":1}]', {"{prefix}(stats)[1].level": 1}),
    "an event": (b'["getstats","PC_0",{"a":1},7]', {"(getstats)[2].a": 1, "(getstats)[3]": 7}),
    "ids in a list": (
        b'[{"id":97,"value":0.2},{"id":96,"value":5}]',
        {"[id=97].id": 97, "[id=97].value": 0.2, "[id=96].id": 96, "[id=96].value": 5},
    ),
    "names in a list": (b'[{"name":"Jane","v":1},{"name":"Joe","v":2}]', {"[#1].v": 1, "[#2].v": 2}),
    "kinds in a list": (b'[{"type":"media-source","kind":"audio","level":1}]', {"[media-source audio].level": 1}),
    "ids for keys": (b'{"d388b09b-d6b0-4f6b":{"a":1},"jane@example.test":{"b":2}}', {"*.a": 1, "*.b": 2}),
    "Chime, microphone level": (
        bytes.fromhex("050880d095ffbc311015b2010d0a0b0861117b14ae47e17a943f"),
        {"{protobuf+1}.#1": 1.7e12, "{protobuf+1}.#2": 21, "{protobuf+1}.#22.#1[id=97].#2": 0.02},
    ),
    "gRPC": (b"\0" + struct.pack(">I", 5) + b"\x0d" + struct.pack("<f", -31.5), {"{protobuf+5}.#1": -31.5}),
    "JSON in protobuf": (delimited(3, b'{"a":1}'), {"{protobuf}.#3{json}.a": 1}),
    "text": (b"PING 1 2 3", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
def test_numbers_are_found_in(case: str) -> None:
    body, expected = BODIES[case]
    assert found(body) == pytest.approx(expected)


def test_a_delta_of_getstats_is_known_by_the_report_before_it() -> None:
    walker = Walker()
    full = {"SA1": {"type": "media-source", "kind": "audio", "timestamp": 1, "audioLevel": 0.5}, "timestamp": 2}
    assert "(getstats)[2].*[media-source audio].audioLevel" in found(
        json.dumps(["getstats", "PC_0", full]).encode(), walker
    )
    delta = {"SA1": {"audioLevel": 0.25}}
    assert found(json.dumps(["getstats", "PC_0", delta]).encode(), walker) == {
        "(getstats)[2].*[media-source audio].audioLevel": 0.25
    }


def test_two_objects_of_one_kind_stay_two() -> None:
    streams = {name: {"type": "inbound-rtp", "id": name, "audioLevel": n} for n, name in enumerate(("IA", "IB"))}
    assert found(json.dumps({"reports": streams}).encode()) == {
        "reports.*[inbound-rtp].audioLevel": 0,
        "reports.*[inbound-rtp 2].audioLevel": 1,
    }


@pytest.mark.parametrize(
    ("items", "before"),
    [
        ([{"ts": 1_700_000_000_000, "v": 1}, {"ts": 1_700_000_010_000, "v": 2}], [10, 0]),
        ([{"at": "2026-03-02T09:00:00Z", "v": 1}, {"at": "2026-03-02T09:00:08Z", "v": 2}], [8, 0]),
        ([{"timestamp": 18084, "v": 1}, {"timestamp": 26080, "v": 2}], [7.996, 0]),
        ([{"size": 18084, "v": 1}, {"size": 26080, "v": 2}], [0, 0]),
    ],
    ids=["milliseconds", "ISO 8601", "milliseconds of the call", "no time"],
)
def test_a_series_in_one_message_has_its_own_times(items: list[dict[str, Any]], before: list[float]) -> None:
    readings = walked(json.dumps(items).encode()).readings
    assert [earlier for place, _, earlier in readings if place[-1] == "v"] == pytest.approx(before)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/metric/v1", "/metric/v1"),
        ("/loci/2f6c1d7e-11aa/participant/42/media", "/loci/*/participant/*/media"),
        ("/u/jane%40example.test/stats", "/u/*/stats"),
        ("/a/b/c/d/e/f/g/h/i", "/a/b/c/d/e/f/g/h/**"),
        ("/", "/"),
    ],
)
def test_a_path_is_shown_without_ids(path: str, template: str) -> None:
    assert path_template(path) == template


@pytest.mark.parametrize("key", ["jane@example.test", "+1 555 0100", "deadbeef01", "a\x1b[31m", "x" * 65, "", "u12345"])
def test_a_key_that_may_be_an_id_is_not_shown(key: str) -> None:
    assert shown_key(key) == "*"


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(st.binary() | VALUES.map(lambda value: json.dumps(value).encode()) | st.text().map(str.encode))
def test_nothing_that_comes_over_the_wire_raises(body: bytes) -> None:
    result = walked(body)
    assert all(isinstance(value, float) for _, value, _ in result.readings)
    show_all = [show(place) for place, _, _ in result.readings]
    assert all(name.isprintable() for name in show_all)


def test_what_is_packed_too_deep_or_too_large_is_left_and_said() -> None:
    bomb = json.dumps({"v": base64.b64encode(gzip.compress(b" " * 8_000_000 + b"{}", mtime=0)).decode()})
    assert walked(bomb.encode()).fault == "gzip"
    assert walked(b"[" * 5_000).fault == "JSON"
    small = Walker(body=Limits(body=10))
    assert walked(b'{"a":1,"b":2}', small).fault == "larger than 10 bytes"
    deep: Any = 1
    for _ in range(9):
        deep = json.dumps({"d": deep})
    assert found(deep.encode()) == {}


def test_texts_within_texts_that_are_each_nested_to_the_limit_stop_nothing() -> None:
    body = "1"
    for _ in range(4):
        body = '{"a":' * 60 + json.dumps(body) + "}" * 60
    assert walked(body.encode()).fault in (None, "nested too deeply", "larger than 1,048,576 bytes")


def test_limits_of_a_run_are_counted() -> None:
    gatherer = Gatherer(lambda _host: True, limits=DiscoverLimits(series=2, readings=5, readings_per_message=3))
    for n in range(4):
        gatherer.add(post(n, {"a": n, "b": n, "c": n, "d": n}))
    assert sum(len(one.values) for stream in gatherer.streams.values() for one in stream.fields.values()) == 5
    assert gatherer.left.series == 4
    assert gatherer.left.readings == 4 + 3
    many = Gatherer(lambda _host: True)
    for n in range(18):
        many.add(post(n, {"a": n}, path=f"/{'ab'[n % 2]}"))
    assert len(list(panels(many, DiscoverLimits(panels=1)))) == 1
    assert many.left.panels == 1
    walker = Walker(DiscoverLimits(names=1, names_per_place=1))
    assert set(found(b'[{"name":"A","v":1},{"name":"B","v":2}]', walker)) == {"[#1].v", "[#more].v"}
    assert walker.labels.forgotten == 1


def test_a_host_that_would_steer_a_terminal_does_not() -> None:
    gatherer = Gatherer(lambda _host: True)
    gatherer.add(replace(post(0, {"a": 1}), host="\x1b[2J.example", method="POST\r"))
    (route,) = gatherer.messages
    assert str(route).isprintable()


def test_only_chosen_hosts_and_directions_are_looked_at() -> None:
    gatherer = Gatherer(lambda host: host == "other.example", frozenset({Direction.TO_SERVER}))
    gatherer.add(post(0, {"a": 1}))
    assert not gatherer.messages
