"""Captures that others made to break readers: each comes to a verdict, in bounded time and memory, and it is right."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pcap_tools.capture.sift import METHODS
from pcap_tools.http.exchange import path_of
from pcap_tools.http.host import host_of
from tests.captures.oracle import tshark_requests
from tests.corpora import packets_by_capinfos, packets_by_tcpdump, read_in_a_child, unpack

pytestmark = pytest.mark.shared

MEBIBYTES = 256
Told = dict[Path, dict[str, Any]]
Request = tuple[str, str | None, str, str]

LEFT = {
    "arcnet-rfc1051-arp-icmp-http.pcap": "of ARCNET's link types, nothing is read",
    "arcnet-rfc1201-arp-icmp-http.pcap": "of ARCNET's link types, nothing is read",
    "variant-09-te_obs_fold.pcap": "tshark does not see a Transfer-Encoding on a folded line (RFC 9112, 5.2)",
    "connect-with-smtp.pcap": "tshark takes but the first word of a target that has spaces in it",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("corpora")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def told(shared: Path, folder: Path) -> Told:
    """What is said of every capture of the corpora."""
    names = ("tcpdump-tests", "libpcap-tests", "pcapng-generator-le", "zeek-traces-http-tcp")
    paths = unpack(shared, folder, *names)
    return dict(zip(paths, read_in_a_child(paths), strict=True))


def test_every_capture_ends_in_a_verdict_with_its_reason(told: Told) -> None:
    assert len(told) > 1_000
    wrong = [(path.name, one) for path, one in told.items() if not is_verdict(one)]
    assert wrong == []


def test_no_broken_gzip_is_called_complete(shared: Path, tmp_path: Path) -> None:
    broken = unpack(shared, tmp_path, "gofuzz-gzip", pattern="*-*")
    assert len(broken) > 250
    for one in read_in_a_child(broken):
        assert is_verdict(one)
        assert one["verdict"] == "unreadable"


def is_verdict(one: dict[str, Any]) -> bool:
    """Is it one of the three, the same from the reader as from the framing walk, and not paid for too dearly?"""
    if "crash" in one or one["mebibytes"] > MEBIBYTES:
        return False
    if one["verdict"] == "complete":
        return one["said"] is None
    reason = one["reason"] if one["verdict"] == "unreadable" else f"incomplete: {one['reason']}"
    return one["said"] == [one["offset"], reason] and one["offset"] is not None


def test_where_tcpdump_and_wireshark_agree_whether_a_capture_is_whole_so_do_we(told: Told) -> None:
    tcpdump, wireshark = packets_by_tcpdump(list(told)), packets_by_capinfos(list(told))
    agreed, wrong = 0, []
    for path, one in told.items():
        theirs = {tcpdump[str(path)], wireshark[str(path)]}
        if len(theirs) == 1:
            agreed += 1
            ours = one["packets"] if one["verdict"] == "complete" else None
            wrong += [(path.name, ours, theirs)] if ours not in theirs else []
    assert wrong == []
    assert agreed > 950


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
def test_no_request_that_tshark_shows_is_missed(told: Told) -> None:
    some = [path for path in told if path.suffix == ".gz" or b"HTTP/1" in path.read_bytes()]
    assert len(some) > 95
    missed = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, shown in zip(some, pool.map(tshark_requests, some), strict=True):
            theirs = Counter(comparable(*request) for request in shown if is_chosen(request[0]))
            ours: Counter[Request] = Counter(tuple(request) for request in told[path]["requests"])
            if theirs - ours and path.name not in LEFT:
                missed[path.name] = theirs - ours
    assert missed == {}


def is_chosen(method: str) -> bool:
    """Is this one of the methods that make a connection of HTTP one for us? Others are read, but not looked for."""
    return f"{method} ".encode()[:4] in METHODS


def comparable(method: str, host: str, target: str, body: bytes | None) -> Request:
    name = target.rpartition(":")[0] if method == "CONNECT" and not host else host
    return method.upper(), host_of(name), path_of(target, method), sha256(body or b"").hexdigest()
