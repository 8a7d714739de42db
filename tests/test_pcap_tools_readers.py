"""Which reader takes which file, and what the operator is told where none does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mutewatch.errors import InputError
from pcap_tools import READERS, reader_for


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\xd4\xc3\xb2\xa1", "pcap"),
        (b"\xa1\xb2\xc3\xd4", "pcap"),
        (b"\x4d\x3c\xb2\xa1", "pcap"),
        (b"\xa1\xb2\x3c\x4d", "pcap"),
        (b"\x0a\x0d\x0d\x0a\x1c\x00\x00\x00", "pcap"),
        (b"1234:9:websocket;0:~", "flow-dump"),
        (b'{"log": {"version": "1.2"', "har"),
        (b'\xef\xbb\xbf{\r\n  "log" : {', "har"),
        (b"Log will be redirected to C:\\log.txt\n", "api-log"),
        (b"Thread 1DFC created, Entry: 1\n", "api-log"),
        (b"noise\nPOST /metric HTTP/1.1{", "api-log"),
        (b"\x10\x04)Y\n\x10\x04\n", "api-log"),
        (b'{"method":"POST","path":"/"}\n', "exchange-log"),
        (b'\n{"body":"POST / HTTP/1.1"}\n', "exchange-log"),
    ],
)
def test_a_file_is_known_by_its_first_bytes(tmp_path: Path, head: bytes, name: str) -> None:
    path = tmp_path / "misleading.har.pcap"
    path.write_bytes(head)
    assert reader_for(path).name == name


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"", "is empty"),
        (b"hello", "known are: pcap"),
        (b"12:", "known are"),
    ],
)
def test_what_no_reader_takes_is_said(tmp_path: Path, head: bytes, said: str) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(head)
    with pytest.raises(InputError, match=said):
        reader_for(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        reader_for(tmp_path / "x")


def test_a_folder_is_said_with_what_to_write_instead(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a directory: name the files in it, e\.g\. .*/\*\.pcap"):
        reader_for(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch(mode=0o000)
    with pytest.raises(InputError, match="no permission"):
        reader_for(path)


def test_every_message_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        reader_for(tmp_path)
    assert "\n" not in str(raised.value)


def test_each_reader_has_a_name_of_its_own() -> None:
    assert len({reader.name for reader in READERS}) == len(READERS)


def test_importing_the_readers_loads_no_heavy_library() -> None:
    heavy = "{'asyncio', 'lxml', 'mitmproxy', 'pyshark', 'scapy'}"
    code = f"import sys, pcap_tools; print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
