"""Addresses from DNS answers: the name that was asked for, whatever stands between; nothing from what is damaged."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcap_tools.capture.dns import answers

ADDRESS, ADDRESS6 = bytes([192, 0, 2, 1]), bytes(range(16))
ASKED = b"\4TSA3\5webex\3com\0"
TO_ASKED = b"\xc0\x0c"


def record(kind: int, data: bytes, name: bytes = TO_ASKED) -> bytes:
    return name + struct.pack(">HHIH", kind, 1, 300, len(data)) + data


def message(
    *records: bytes, flags: int = 0x8180, questions: tuple[bytes, ...] = (ASKED,), count: int | None = None
) -> bytes:
    head = struct.pack(">HHHHHH", 7, flags, len(questions), len(records) if count is None else count, 0, 0)
    return head + b"".join(name + b"\0\1\0\1" for name in questions) + b"".join(records)


A, AAAA = record(1, ADDRESS), record(28, ADDRESS6)
CNAME = record(5, b"\4edge\xc0\x11")  # edge.webex.com
NAME = "tsa3.webex.com"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (message(A), [(NAME, ADDRESS)]),
        (message(A, AAAA), [(NAME, ADDRESS), (NAME, ADDRESS6)]),
        (message(CNAME, record(1, ADDRESS, b"\4edge\xc0\x11")), [(NAME, ADDRESS)]),
        (message(record(1, ADDRESS, ASKED)), [(NAME, ADDRESS)]),
        (message(record(16, b"text"), A), [(NAME, ADDRESS)]),
        (message(A, count=9), [(NAME, ADDRESS)]),
        (message(A * 70, count=70), [(NAME, ADDRESS)] * 64),
        (message(A, questions=(b"\5other\0", ASKED)), [(NAME, ADDRESS)]),
        (message(record(1, ADDRESS6)), []),
        (message(record(28, ADDRESS)), []),
        (message(A, flags=0x0100), []),
        (message(A, questions=()), []),
        (message(A, questions=(ASKED,) * 5), []),
        (message(record(1, ADDRESS, b"\xc0\x20")), []),  # a pointer to itself
        (message(record(1, ADDRESS, b"\xc0\xff")), []),  # a pointer forwards
        (message(A, questions=(b"\x3f" + b"a" * 63,) * 5), []),
        (message(A, questions=((b"\x3f" + b"a" * 63) * 5 + b"\0",)), []),  # longer than any name
        (message(A, questions=(b"\2\xc3\xa4\0",)), []),  # not ASCII
        (b"", []),
    ],
)
def test_an_answer_gives_the_addresses_of_the_name_that_was_asked_for(
    data: bytes, found: list[tuple[str, bytes]]
) -> None:
    assert list(answers(data)) == found


def test_pointers_that_lead_in_a_circle_come_to_an_end() -> None:
    circle = message(record(1, ADDRESS, b"\1a\xc0\x22"), record(1, ADDRESS, b"\xc0\x20"))
    assert list(answers(circle)) == []


@pytest.mark.parametrize("data", [message(CNAME, A, AAAA), message(A, questions=(b"\5other\0", ASKED))])
def test_an_answer_that_was_cut_gives_what_is_whole(data: bytes) -> None:
    whole = list(answers(data))
    for size in range(len(data)):
        some = list(answers(data[:size]))
        assert some == whole[: len(some)]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=80), st.integers(0, 6), st.integers(0, 90))
def test_nothing_in_an_answer_raises_an_error(noise: bytes, questions: int, records: int) -> None:
    head = struct.pack(">HHHHHH", 7, 0x8180, questions, records, 0, 0)
    for name, address in answers(head + noise):
        assert len(name) <= 400 and len(address) in (4, 16)
