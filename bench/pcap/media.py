"""Measure what looking for RTP costs where there is none, and where there is nothing else.

    python -m bench.pcap.media                  # 200 MB

Reads the same capture with and without, in turn, and prints the medians of CPU time and of their ratio, in Markdown:
the capture of `bench.pcap`, of which 72 % of the packets begin as RTP does; the same without these; and a meeting.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

from bench.pcap import build as builder
from mutewatch.ports import ReadOptions
from pcap_tools.pcap import CaptureReader
from tests.rtp_packets import Talk, capture_of, speech

MB = 10**6
MEETING = 20  # streams of ten minutes


def cpu_seconds(path: Path, *, with_rtp: bool) -> float:
    """Return the CPU time of one reading."""
    told: list[object] = []
    options = ReadOptions(is_host=lambda _name: False)
    if with_rtp:
        options = ReadOptions(is_host=lambda _name: False, on_streams=lambda *found: told.append(found))
    began = time.process_time()
    for _ in CaptureReader().read(path, options):
        pass
    return time.process_time() - began


def build(folder: Path, size: int) -> dict[str, Path]:
    """Write the captures; return them by what they are."""
    paths = {name: folder / f"{number}.pcap" for number, name in enumerate(("as RTP begins", "no RTP", "a meeting"))}
    as_rtp, none, meeting = paths.values()
    builder.build(as_rtp, folder / "keys", size)
    with patch.object(builder, "_udp", partial(_without_rtp, builder._udp)):
        builder.build(none, folder / "keys", size)
    chance = random.Random(1)
    talks = [Talk(speech(30_000, seed), ssrc=chance.getrandbits(32), start_ms=seed) for seed in range(MEETING)]
    meeting.write_bytes(capture_of(*talks))
    return paths


def _without_rtp(make, rng, noise, first, length, ports):  # type: ignore[no-untyped-def]
    return make(rng, noise, b"\x20" if first == b"\x80" else first, length, ports)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pcap.media", description="Measure what RTP costs.")
    parser.add_argument("--size", type=int, default=200, help="MB of the captures")
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args(arguments)
    print("| capture | MB | without, CPU s | with RTP, CPU s | ratio |\n|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory(prefix="mutewatch-bench-") as made:
        for name, path in build(Path(made), options.size * MB).items():
            cpu_seconds(path, with_rtp=True)
            pairs = [
                (cpu_seconds(path, with_rtp=False), cpu_seconds(path, with_rtp=True)) for _ in range(options.repeat)
            ]
            off, on = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(with_rtp / without for without, with_rtp in pairs)
            print(f"| {name} | {path.stat().st_size / MB:.0f} | {off:.2f} | {on:.2f} | {ratio:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
