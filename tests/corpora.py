"""Captures that others made, to break readers; and what our reader and other people's tools say of them.

As a program, it reads the captures named on standard input, one a line, and tells of each in one line of JSON:
a process of its own, so that its memory can be held to account.
"""

import json
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from mutewatch.errors import InputError
from mutewatch.ports import ReadOptions
from pcap_tools.capture.framing import check_framing
from pcap_tools.pcap import CaptureReader

SECONDS = 10  # for one capture
ROOT = Path(__file__).parents[1]


def unpack(shared: Path, folder: Path, *names: str, pattern: str = "*.pcap*") -> list[Path]:
    """Return the captures of these archives, unpacked below `folder`."""
    for name in names:
        archive = shared / f"corpora/{name}.tar.gz"
        if not archive.is_file():
            pytest.skip(f"no {archive}")
        with tarfile.open(archive) as files:
            files.extractall(folder / name, filter="data")
    return sorted(path for path in folder.rglob(pattern) if path.is_file() and path.suffix != ".py")


def packets_by_capinfos(paths: list[Path]) -> dict[str, int | None]:
    """Return Wireshark's own packet counts, None for a file that it refuses."""
    capinfos = shutil.which("capinfos")
    if capinfos is None:
        pytest.skip("capinfos is not installed")
    counts: dict[str, int | None] = dict.fromkeys(map(str, paths))
    for start in range(0, len(paths), 100):
        command = [capinfos, "-T", "-r", "-B", "-c", *map(str, paths[start : start + 100])]
        for row in subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines():
            name, _, count = row.rpartition("\t")
            counts[name] = int(count)
    return counts


def packets_by_tcpdump(paths: list[Path]) -> dict[str, int | None]:
    """Return libpcap's packet counts, None for a file that tcpdump refuses."""
    tcpdump = shutil.which("tcpdump")
    if tcpdump is None:
        pytest.skip("tcpdump is not installed")
    counts: dict[str, int | None] = {}
    for path in paths:
        done = subprocess.run([tcpdump, "--count", "-r", path], capture_output=True, text=True, check=False)
        counts[str(path)] = int(done.stdout.split()[0]) if done.returncode == 0 else None
    return counts


def read_in_a_child(paths: list[Path]) -> list[dict[str, Any]]:
    """Return what `judge` says of each capture, read in one process; `crash`: what went wrong instead."""
    command = [sys.executable, "-m", "tests.corpora"]
    asked = "".join(f"{path}\n" for path in paths)
    done = subprocess.run(command, input=asked, capture_output=True, text=True, cwd=ROOT, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def judge(path: Path) -> dict[str, Any]:
    """Return the verdict on one capture, the requests in it, and the most memory that was needed up to here."""
    requests: list[tuple[str, str | None, str, str]] = []
    fault: InputError | None = None
    try:
        for exchange in CaptureReader().read(path, ReadOptions()):
            if exchange.method not in ("", "WEBSOCKET"):
                target = exchange.path + ("?" + exchange.query if exchange.query else "")
                requests.append((exchange.method, exchange.host, target, sha256(exchange.body or b"").hexdigest()))
    except InputError as error:
        fault = error
    framing = check_framing(path)
    return {
        "verdict": framing.wholeness,
        "packets": framing.packets,
        "offset": framing.offset,
        "reason": framing.reason,
        "said": fault and [fault.offset, fault.reason],
        "requests": requests,
        "mebibytes": peak_mebibytes(),
    }


def peak_mebibytes() -> int:
    """Return the most memory that this program has had; getrusage would count what forked it."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) >> 10


def _too_slow(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS} seconds")


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, _too_slow)
    for line in sys.stdin:
        signal.alarm(SECONDS)
        try:
            told = judge(Path(line.rstrip("\n")))
        except Exception as error:  # whatever it is, it is to be told, and the other files to be read
            told = {"crash": repr(error)}
        signal.alarm(0)
        print(json.dumps(told), flush=True)
