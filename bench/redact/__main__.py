"""Measure what redaction costs, beside opening and closing the same layers with json, in turns within one run.

    python -m bench.redact                      # bodies of 3, 30 and 200 KB, as sent

`plain` takes the same layers apart and puts them together again: json.loads, base64, gzip, json.loads, and back. The
ratio is what finding, blanking and looking again adds. `search` looks for names in a message that nobody knows.
"""

import argparse
import base64
import gzip
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

from mutewatch.audio_names import names_audio
from mutewatch.redact import Blank, redact
from mutewatch.signatures import load_signatures

SIZES: Final = (3_000, 30_000, 200_000)  # bytes of a body
TSA: Final = next(signature for signature in load_signatures() if signature.id == "webex.tsa.v1")
SENT_AT: Final = "2026-03-02T09:01:00.000Z"


def body_of(size: int) -> bytes:
    """Return a message of about `size` bytes: as many elements as are read, each with enough beside its values."""
    source = random.Random(size)
    count = min(60, max(1, size // 3_000))
    return json.dumps({"telemetrics": [element(source, number, size // count) for number in range(count)]}).encode()


def element(source: random.Random, number: int, size: int) -> dict[str, Any]:
    levels = {"audioMaxGain": 46, "audioMeanGain": 38, "audioMinGain": 27}
    streams: list[dict[str, Any]] = []
    interval = {"intervalNumber": number, "audioTransmit": [{"levels": levels, "streams": streams}]}
    event = {"name": "client.mediaquality.event", "identifiers": {"correlationId": "C1"}, "intervals": [interval]}
    inner = {"event": event, "originTime": {"sent": SENT_AT}}
    while len(packed := pack(inner)) < size:
        counters = {f"counter{each}": source.randrange(1 << 30) for each in range(20)}
        streams.append({"common": counters, "ssrc": f"{source.randrange(1 << 60):x}"})
    return {"cid": "C1", "t": "wmequality", "v": {"gzipb64data": packed}}


def pack(inner: Any) -> str:
    return base64.b64encode(gzip.compress(json.dumps(inner).encode(), 6, mtime=0)).decode()


def plain(body: bytes) -> bytes:
    """Open all layers and close them again."""
    document = json.loads(body)
    for each in document["telemetrics"]:
        each["v"]["gzipb64data"] = pack(json.loads(gzip.decompress(base64.b64decode(each["v"]["gzipb64data"]))))
    return json.dumps(document).encode()


def redacted(body: bytes) -> bytes:
    return redact(body, None, TSA, TSA.messages[0], blank=Blank.ZERO, identifiers=False).body


def searched(body: bytes) -> bool | None:
    return names_audio(body, None, TSA.telling_names)


def milliseconds(work: Callable[[bytes], object], body: bytes) -> float:
    started = time.process_time()
    work(body)
    return (time.process_time() - started) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    chosen = parser.parse_args()
    print("| body, bytes | JSON inside, bytes | plain ms | redact ms | ratio | search ms |\n|--:|--:|--:|--:|--:|--:|")
    for size in chosen.sizes:
        body = body_of(size)
        rounds = [[milliseconds(work, body) for work in (plain, redacted, searched)] for _ in range(chosen.repeat)]
        opened, blanked, looked = (statistics.median(column) for column in zip(*rounds, strict=True))
        packed = [each["v"]["gzipb64data"] for each in json.loads(body)["telemetrics"]]
        inside = sum(len(gzip.decompress(base64.b64decode(text))) for text in packed)
        print(
            f"| {len(body):,} | {inside:,} | {opened:.1f} | {blanked:.1f} | {blanked / opened:.1f} | {looked:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
