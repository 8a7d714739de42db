"""Where captures come from: compressed in any way, through a pipe, still growing; and what is said of a bad end."""

import gzip
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mutewatch.errors import InputError
from pcap_tools.capture.framing import Framing, Walk, Wholeness
from pcap_tools.capture.source import Source, SourceError, open_source
from pcap_tools.limits import DEFAULT_READ_LIMITS as LIMITS
from pcap_tools.limits import ReadLimits
from tests.test_pcap_tools_framing import pcap

PLAIN = b"\xd4\xc3\xb2\xa1" + bytes(range(256)) * 40


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(data)


def streamed(data: bytes) -> bytes:
    """A zstd frame that does not say how large it is."""
    packer = zstandard.ZstdCompressor().compressobj()
    return packer.compress(data) + packer.flush()


WHOLE = {
    "plain": PLAIN,
    "empty": b"",
    "three bytes": PLAIN[:3],
    "gzip": gzip.compress(PLAIN),
    "gzip members": gzip.compress(PLAIN[:5]) + gzip.compress(b"") + gzip.compress(PLAIN[5:]),
    "gzip padded": gzip.compress(PLAIN) + bytes(512),
    "zstd": zst(PLAIN),
    "zstd frames": zst(PLAIN[:5]) + zst(b"") + zst(PLAIN[5:]),
    "zstd without a size": streamed(PLAIN),
    "zstd with a skippable frame": zst(PLAIN[:9]) + b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zst(PLAIN[9:]),
}
COMPRESSED = [name for name in WHOLE if "z" in name]


def read_all(source: Source, size: int = 1 << 16) -> bytes:
    found, buffer = b"", bytearray(size)
    while count := source.readinto(memoryview(buffer)):
        found += buffer[:count]
    source.close()
    return found


def open_bytes(folder: Path, data: bytes, limits: ReadLimits = LIMITS) -> Source:
    path = folder / "capture"
    path.write_bytes(data)
    return open_source(path, limits)


@pytest.mark.parametrize("size", [1, 7, 1_000, 1 << 20])
@pytest.mark.parametrize("name", WHOLE)
def test_it_gives_the_plain_bytes_and_knows_when_all_was_consumed(name: str, size: int, tmp_path: Path) -> None:
    source = open_bytes(tmp_path, WHOLE[name])
    assert read_all(source, size) == {"empty": b"", "three bytes": PLAIN[:3]}.get(name, PLAIN)
    assert source.consumed == len(WHOLE[name])
    assert not source.is_live


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_compressed_file_that_was_cut_gives_what_came_before_and_then_says_so(name: str, tmp_path: Path) -> None:
    data = WHOLE[name]
    for size in (*range(5, len(data), 37), len(data) - 1):
        source, found, buffer = open_bytes(tmp_path, data[:size]), b"", bytearray(100)
        try:
            while count := source.readinto(memoryview(buffer)):
                found += buffer[:count]
        except SourceError as error:
            assert str(error) == "the compressed file ends in the middle"
        else:  # between two members, or in the padding
            assert "members" in name or "frame" in name or found == PLAIN
        assert PLAIN.startswith(found)
        source.close()


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_damaged_compression_is_said(name: str, tmp_path: Path) -> None:
    data = bytearray(WHOLE[name])
    data[len(data) // 2] ^= 0xFF
    data[-6] ^= 0xFF
    with pytest.raises(SourceError, match=r"the compression is damaged|ends in the middle"):
        read_all(open_bytes(tmp_path, bytes(data)))


@pytest.mark.parametrize("tail", [b"garbage", b"\x1f\x8b"])
@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_what_stands_behind_the_compressed_bytes_is_said(name: str, tail: bytes, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        read_all(open_bytes(tmp_path, WHOLE[name] + tail))


@pytest.mark.parametrize("pack", [gzip.compress, zst])
def test_a_bomb_is_stopped_where_the_limit_is(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    limits = replace(LIMITS, expansion_free=1 << 16, expansion_ratio=10)
    source, given = open_bytes(tmp_path, pack(bytes(5_000_000)), limits), 0
    with pytest.raises(SourceError, match="expands more than 10 times"):
        while count := source.readinto(memoryview(bytearray(4_096))):
            given += count
    assert given <= 1 << 17


@pytest.mark.parametrize("pack", [gzip.compress, zst])
def test_what_expands_little_is_read_whatever_its_size(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    limits = replace(LIMITS, expansion_free=100, expansion_ratio=100)
    data = b"".join(b"%d " % number for number in range(20_000))
    assert read_all(open_bytes(tmp_path, pack(data), limits)) == data


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.sampled_from([b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b""]), st.binary(max_size=60))
def test_nothing_in_a_file_raises_another_error(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, rest: bytes
) -> None:
    source = open_bytes(tmp_path_factory.getbasetemp(), head + rest)
    try:
        found = read_all(source)
    except SourceError:
        source.close()
    else:
        assert head or found == rest


# -- a pipe -----------------------------------------------------------------------------------------------------


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The writing end of standard input."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as handle:
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": handle}))
        yield writing


@pytest.mark.parametrize("name", ["plain", "gzip", "zstd", "empty"])
def test_standard_input_is_read_to_its_end(name: str, pipe: int) -> None:
    def write() -> None:
        for at in range(0, len(WHOLE[name]), 700):
            os.write(pipe, WHOLE[name][at : at + 700])
        os.close(pipe)

    writer = threading.Thread(target=write)
    writer.start()
    source = open_source(Path("-"), LIMITS)
    assert read_all(source) == (PLAIN if name != "empty" else b"")
    writer.join()


def test_what_came_through_a_pipe_does_not_wait_for_more(pipe: int) -> None:
    source, buffer = open_source_of(pipe, PLAIN[:4]), bytearray(100)
    os.write(pipe, b"abc")
    assert source.readinto(memoryview(buffer)) == 4
    assert source.readinto(memoryview(buffer)) == 3
    os.write(pipe, b"defg")
    assert (source.readinto(memoryview(buffer)), bytes(buffer[:4])) == (4, b"defg")
    os.close(pipe)
    assert source.readinto(memoryview(buffer)) == 0


def open_source_of(pipe: int, head: bytes) -> Source:
    os.write(pipe, head)
    return open_source(Path("-"), LIMITS)


# -- a file that grows ------------------------------------------------------------------------------------------


class Growth:
    """Does the next thing to a file each time that its reader would wait for more."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)

    def __call__(self, _seconds: float) -> None:
        if self._steps:
            self._steps.pop(0)()


def follow(path: Path, monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], object]) -> Source:
    monkeypatch.setattr("pcap_tools.capture.source.time.sleep", Growth(*steps))
    return open_source(path, LIMITS, follow=True)


def appended(path: Path, data: bytes) -> Callable[[], object]:
    def append() -> None:
        with path.open("ab") as file:
            file.write(data)

    return append


@pytest.mark.parametrize("end", ["removed", "replaced", "begun anew"])
def test_a_file_that_grows_is_followed_until_it_is_rotated_away(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "a.pcap", tmp_path / "b.pcap"
    path.write_bytes(PLAIN[:10])
    other.write_bytes(b"another file")
    ends: dict[str, Callable[[], object]] = {
        "removed": path.unlink,
        "replaced": lambda: other.rename(path),
        "begun anew": lambda: path.write_bytes(b"short"),
    }
    steps: list[Callable[[], object]] = [
        appended(path, b"abc"),
        lambda: None,
        lambda: None,
        appended(path, b"de"),
        ends[end],
    ]
    assert read_all(follow(path, monkeypatch, *steps)) == PLAIN[:10] + b"abcde"


def test_a_file_that_is_still_empty_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pcap"
    path.touch()
    steps = [lambda: None, appended(path, PLAIN[:2]), appended(path, PLAIN[2:]), path.unlink]
    assert read_all(follow(path, monkeypatch, *steps)) == PLAIN


def test_what_was_written_just_before_the_file_went_away_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(PLAIN[:10])

    def last_words() -> None:
        appended(path, b"last words")()
        path.unlink()

    assert read_all(follow(path, monkeypatch, last_words)) == PLAIN[:10] + b"last words"


def test_ctrl_c_ends_the_waiting_and_a_record_that_is_not_whole_is_then_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole = tmp_path / "a.pcap", pcap(b"packet", b"another")

    def interrupt() -> None:
        raise KeyboardInterrupt

    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        walk = Walk(follow(path, monkeypatch, interrupt))
        packets = sum(len(batch.heads) for found in walk.chunks() for batch in found)
        assert walk.framing == Framing(Wholeness.COMPLETE, packets)
        assert packets == (size >= 46) + (size >= 69)


@pytest.mark.parametrize(("name", "said"), [("none", "not found"), (".", "is a directory")])
def test_what_cannot_be_opened_is_an_input_error(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        open_source(tmp_path / name, LIMITS)
