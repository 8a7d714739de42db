"""Read a capture with mutewatch's own engine and print the SHA-256 of each body: what `bench.pcap` measures."""

import sys
from hashlib import sha256
from pathlib import Path

from mutewatch.ports import ReadOptions
from pcap_tools.pcap import CaptureReader


def main(path: str, keylog: str, host: str) -> None:
    options = ReadOptions((Path(keylog),), lambda name: name == host)
    for exchange in CaptureReader().read(Path(path), options):
        if exchange.body:
            print(sha256(exchange.body).hexdigest())


if __name__ == "__main__":
    main(*sys.argv[1:])
