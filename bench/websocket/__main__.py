"""Measure what a websocket message costs on its way through the core, beside the limit of 100 µs.

    python -m bench.websocket                            # every signature that knows websocket messages
    python -m bench.websocket --signature mine.toml

The bodies are the fixtures of the signatures. Each is fed as often as asked for, on one connection, a second apart: a
stateful step sees a stream. CPU time of the fastest of some rounds, so that a busy machine does not count.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from mutewatch.identity import Names
from mutewatch.messages import WEBSOCKET
from mutewatch.pipeline import Pipeline
from mutewatch.records import Exchange
from mutewatch.signatures import Signature, load_signatures
from mutewatch.signatures.fixtures import fixture_exchanges

LIMIT: Final = 100  # µs
ROUNDS: Final = 7


def bodies(signature: Signature) -> Iterator[tuple[str, Exchange]]:
    """Yield the fixtures that are websocket messages which decode, by name, as a door would give them."""
    for fixture in signature.fixtures:
        exchange = next(fixture_exchanges(signature, fixture))
        if exchange.method == WEBSOCKET and fixture.kind == "typical":
            yield fixture.name, replace(exchange, client="192.0.2.10", client_port=50_000, connection="bench")


def microseconds(signatures: Sequence[Signature], exchange: Exchange, count: int) -> float:
    """Return the CPU time of one message, where all `signatures` are looked for."""
    pipeline = Pipeline(signatures, Names(b"k" * 32))
    began = exchange.sent_at
    stream = [replace(exchange, sent_at=began and began + timedelta(seconds=number)) for number in range(count)]
    started = time.process_time()
    for one in stream:
        pipeline.feed(one)
    return (time.process_time() - started) / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signature", type=Path, nargs="+", default=[], help="TOML files beside the bundled ones")
    parser.add_argument("--count", type=int, default=2_000, help="messages of one round")
    chosen = parser.parse_args()
    print("| signature | message | bytes | µs | of the limit |\n|---|---|--:|--:|--:|")
    signatures = load_signatures(*chosen.signature)
    for signature in signatures:
        for name, exchange in bodies(signature):
            cost = min(microseconds(signatures, exchange, chosen.count) for _ in range(ROUNDS))
            size = len(exchange.body or b"")
            print(f"| {signature.id} | {name} | {size:,} | {cost:.0f} | {cost / LIMIT:.2f} |", flush=True)


if __name__ == "__main__":
    main()
