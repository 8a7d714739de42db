"""Key log files: what is in them, and what is said of one that is of no use."""

import gzip
from pathlib import Path

import pytest

from pcap_tools.keylog_file import diagnose, read_key_log
from pcap_tools.tls.keylog import KeyLog

LINE = f"CLIENT_RANDOM {'ab' * 32} {'cd' * 48}\n"


def test_a_key_log_is_read_line_by_line_past_what_is_too_long(tmp_path: Path) -> None:
    path, found = tmp_path / "keys.log", KeyLog()
    path.write_text("x" * 100_000 + "\n" + LINE)
    read_key_log(path, found)
    assert found.sessions == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (gzip.compress(LINE.encode()), "is compressed: expand it first"),
        (b"\x28\xb5\x2f\xfd", "is compressed: expand it first"),
        (LINE.encode("utf-16"), "is UTF-16: write it as"),
        (LINE.encode("utf-16-le"), "is UTF-16: write it as"),
        (LINE.encode("utf-16-be"), "is UTF-16: write it as"),
        (b"", "no TLS secrets in it; a key log has lines such as"),
        (b"hello", "no TLS secrets in it; a key log has lines such as"),
    ],
)
def test_a_key_log_of_no_use_is_told_by_what_it_is(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.log"
    path.write_bytes(data)
    assert diagnose(path).startswith(said)
