"""Reads key log files, a line at a time, and says what is wrong with one that has no secrets."""

from pathlib import Path

from pcap_tools.capture.magic import GZIP_MAGIC, ZSTD_MAGIC
from pcap_tools.files import open_input
from pcap_tools.tls.keylog import LONGEST_LINE, KeyLog

_NO_SECRETS = "no TLS secrets in it; a key log has lines such as CLIENT_RANDOM …: set SSLKEYLOGFILE for the client"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_key_log(path: Path, keylog: KeyLog) -> None:
    """Add the secrets in the file at `path`. Raises InputError if it cannot be opened."""
    with open_input(path) as handle:
        while line := handle.readline(LONGEST_LINE):
            keylog.add(line)


def diagnose(path: Path) -> str:
    """Return why a key log gave no secrets, and what to do about it."""
    with open_input(path) as handle:
        head = handle.read(4)
    if head[:2] == GZIP_MAGIC or head == ZSTD_MAGIC:
        return "is compressed: expand it first (gunzip, unzstd)"
    if head[:2] in _UTF16_MARKS or b"\0\0" in (head[::2], head[1::2]):
        return "is UTF-16: write it as ASCII or UTF-8 (PowerShell: -Encoding ascii)"
    return _NO_SECRETS
