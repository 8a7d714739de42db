"""Read a capture with pyshark in its fastest form (tshark's EK output), as `bench.pcap` measures it."""

import sys

import pyshark


def main(path: str, keylog: str, display_filter: str) -> None:
    capture = pyshark.FileCapture(
        path,
        use_ek=True,
        display_filter=display_filter,
        override_prefs={"tls.keylog_file": keylog},
        keep_packets=False,
    )
    for packet in capture:
        print(packet.number)
    capture.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
