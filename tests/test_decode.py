"""Decode steps: what they give, what they refuse, and that nothing makes them cost more than their limits."""

import base64
import gzip
import json
import tarfile
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutewatch.decode import STEPS, Budget, first_json_value, gunzip, parse_json, remove_content_encoding, run_steps
from mutewatch.errors import DecodeError
from mutewatch.limits import DEFAULT_LIMITS, Limits


def budget(**limits: int) -> Budget:
    return Budget(Limits(**limits))


def test_a_telemetry_payload_opens_in_three_steps() -> None:
    packed = base64.b64encode(gzip.compress(b'{"gain": 38}')).decode()
    assert run_steps(packed, ("base64", "gzip", "json"), budget()) == {"gain": 38}


@pytest.mark.parametrize(
    ("step", "value", "reason"),
    [
        ("base64", "H4s*", "base64: "),
        ("base64", "H4s", "base64: "),
        ("base64", 7, "base64: a number instead of a string"),
        ("base64", "A" * 400_000, "base64: 400,000 characters, limit 262,144"),
        ("gzip", b"", "gzip: cut short after 0 bytes"),
        ("gzip", b"no gzip", "gzip: "),
        ("gzip", gzip.compress(b"x" * 100)[:-4], "gzip: cut short after"),
        ("gzip", gzip.compress(b"x") + b"more", "gzip: 4 bytes after its end"),
        ("json", b"", "JSON: Expecting value at character 0 of 0"),
        ("json", b'{"a": 1} x', "JSON: more text after its end at character 9 of 10"),
        ("json", b'{"a": NaN}', "JSON: NaN is not a JSON number"),
        ("json", b'{"a": -Infinity}', "JSON: -Infinity is not a JSON number"),
        ("json", b'{"a": ' + b"9" * 40 + b"}", "JSON: an integer of more than 32 digits"),
        ("json", b'{"a": ' + b"9" * 5000 + b"}", "JSON: Exceeds the limit"),
        ("json", b"[" * 65 + b"]" * 65, "JSON: nested deeper than 64"),
        ("json", b"[" * 100_000 + b"]" * 100_000, "JSON: nested too deeply"),
        ("json", b'{"a":' * 100_000, "JSON: nested too deeply"),
        ("json", json.dumps(list(range(30_000))).encode(), "JSON: more than 20,000 values"),
        ("json", b'{"' + b"k" * 300 + b'": 1}', "JSON: a key longer than 256 characters"),
        ("json", b'"\xff"', "JSON: not UTF-8 at byte 1"),
        ("json", '"text"'.encode("utf-16"), "JSON: not UTF-8 at byte 0"),
        ("json_in_string", {"a": 1}, "JSON: an object instead of text"),
        ("first_json_value", b'{"a": "\xff"} \xff', "JSON: not UTF-8"),
    ],
)
def test_what_cannot_be_decoded_is_refused_with_its_reason(step: str, value: Any, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        STEPS[step](value, budget())
    assert str(caught.value).startswith(reason)


def test_the_first_json_value_stands_whatever_follows_it() -> None:
    assert first_json_value(b' {"a": 1}\x10\x04\xff residue {"b":', budget()) == {"a": 1}


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        (None, b"body"),
        ("identity", b"body"),
        ("gzip", gzip.compress(b"body")),
        ("X-GZIP", gzip.compress(b"body")),
        ("deflate", zlib.compress(b"body")),
        ("gzip, gzip", gzip.compress(gzip.compress(b"body"))),
    ],
)
def test_a_content_encoding_is_removed(encoding: str | None, packed: bytes) -> None:
    assert remove_content_encoding(packed, encoding, budget()) == b"body"


@pytest.mark.parametrize("encoding", ["br", "zstd", "rot13", "gzip, gzip, gzip"])
def test_other_content_encodings_are_named_not_guessed(encoding: str) -> None:
    with pytest.raises(DecodeError, match="content-encoding"):
        remove_content_encoding(b"body", encoding, budget())


def bomb(size: int) -> bytes:
    """`size` MiB of one letter, gzipped without holding them: about a thousandth of that."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(b"a" * (1 << 20)) for _ in range(size)) + packer.flush()


def test_a_bomb_of_one_gigabyte_is_refused_within_two_megabytes() -> None:
    packed = bomb(1024)
    tracemalloc.start()
    with pytest.raises(DecodeError, match="more than 1,048,576 bytes come out"):
        gunzip(packed, budget())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_small_bomb_is_refused_by_its_ratio() -> None:
    with pytest.raises(DecodeError, match="more than 100:1"):
        gunzip(gzip.compress(b"a" * 200_000), budget())


def test_all_parts_of_a_message_share_one_allowance() -> None:
    shared = budget(inflated_total=3000)
    part = gzip.compress(bytes(range(256)) * 8)
    gunzip(part, shared)
    with pytest.raises(DecodeError, match="more than 952 bytes come out"):
        gunzip(part, shared)


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_a_decode_error(data: bytes) -> None:
    for step in STEPS.values():
        for value in (data, data.decode("latin-1")):
            try:
                step(value, budget())
            except DecodeError as error:
                assert str(error)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
        max_leaves=30,
    )
)
def test_json_that_python_writes_comes_back_the_same(document: Any) -> None:
    text = json.dumps(document)
    try:
        assert parse_json(text.encode(), budget()) == document
    except DecodeError as error:
        assert "digits" in str(error)


@pytest.mark.shared
def test_the_public_json_suite_agrees_on_what_is_json(shared: Path) -> None:
    wrong = []
    with tarfile.open(shared / "corpora" / "jsontestsuite-parsing.tar.gz") as archive:
        for member in archive:
            name, file = Path(member.name).name, archive.extractfile(member)
            if file is None or name[:2] not in ("y_", "n_"):
                continue
            try:
                parse_json(file.read(), Budget(DEFAULT_LIMITS))
                accepted = True
            except DecodeError:
                accepted = False
            if accepted != name.startswith("y_"):
                wrong.append(name)
    assert wrong == []


# -- steps that sockets and other telemetry need ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "value", "found"),
    [
        (("ndjson",), b'{"a":1}\n\n{"b":\r\n', ['{"a":1}', '{"b":\r']),
        (("gzip_if_magic", "json"), gzip.compress(b"[0]"), [0]),
        (("gzip_if_magic", "json"), b"[0]", [0]),
        (("strip_prefix 0x05",), b"\x05\x08\x00", b"\x08\x00"),
        (("strip_prefix 42#", "json"), b'42["a"]', ["a"]),
        (("strip_prefix 42#", "json"), b'4217["a"]', ["a"]),
        (("json", "json_in_string a.b"), b'{"a":{"b":"[false]","c":0}}', {"a": {"b": [False], "c": 0}}),
        (("json", "json_in_string a.b"), b'{"a":{"b":7}}', {"a": {"b": 7}}),
        (("json", "json_in_string a.b"), b'{"a":[]}', {"a": []}),
        (("json", "items"), b'{"k":{"muted":false}}', [{"key": "k", "value": {"muted": False}}]),
        (("json", "items"), b"true", True),
        (("xml_text",), b"<a>0</a>", {"name": "a", "texts": {"a": ["0"]}}),
    ],
)
def test_a_step_gives(steps: tuple[str, ...], value: bytes, found: Any) -> None:
    assert run_steps(value, steps, budget()) == found


@pytest.mark.parametrize(
    ("steps", "value", "reason"),
    [
        (("ndjson",), b"\xff", "JSON: not UTF-8 at byte 0"),
        (("ndjson",), b"1\n" * 30_000, "ndjson: 30,000 lines, limit 20,000"),
        (("gzip_if_magic", "json"), gzip.compress(b"[0]")[:-2], "gzip: cut short"),
        (("strip_prefix 0x05",), b"\x06", "strip_prefix: does not begin with 0x05"),
        (("strip_prefix 42#",), b"41", "strip_prefix: does not begin with 42#"),
        (("json", "json_in_string a"), b'{"a":"{"}', "JSON: "),
        (("xml_text",), b"<a", "XML: not well-formed"),
    ],
)
def test_a_step_refuses(steps: tuple[str, ...], value: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        run_steps(value, steps, budget())
    assert str(caught.value).startswith(reason)
