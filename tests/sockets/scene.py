"""A real mitmdump between a real client and a real server of the conversation, over TLS."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mutewatch.records import Decoded
from mutewatch.store import Store
from tests.facts import START
from tests.live_relay import Relay
from tests.live_support import Proxy, wait_until
from tests.redact_scene import FarEnd
from tests.sockets.talk import HOST, WEBSOCKET, Said, play, serve

SCRIPT = Path(__file__).with_name("live_script.py")


@dataclass
class Sockets:
    """The proxy, and what its far end heard in websockets."""

    proxy: Proxy
    heard: list[bytes] = field(default_factory=list)

    def play(self, talk: list[Said]) -> list[bytes]:
        """Play the client; return what the server said in the websocket."""
        posting, asking = self.proxy.connect(HOST), self.proxy.connect(HOST)
        posting.connect()
        asking.connect()
        return play(posting.sock, asking.sock, talk)

    def wait_heard(self, bodies: list[bytes]) -> None:
        wait_until(lambda: len(self.heard) >= len(bodies), "the server hears")
        assert self.heard == bodies

    def facts(self) -> list[Decoded]:
        """What the store has, in the order of time; once the proxy has ended."""
        with Store(self.proxy.state / "mutewatch.db") as store:
            return list(store.facts_since(START.replace(year=1980), 1_000))[::-1]


@contextmanager
def sockets(
    folder: Path, confdir: Path, talk: list[Said] = WEBSOCKET, bare: list[str] | None = None, **choices: Any
) -> Iterator[Sockets]:
    """`bare`: arguments of a mitmdump without our addon."""
    heard: list[bytes] = []
    with FarEnd(folder, answer=lambda tls: serve(tls, talk, heard)).running(HOST) as far_end:
        relay = Relay(("127.0.0.1", far_end.port))
        proxy = Proxy(folder / "state", confdir, relay.port, far_end.authority, script=SCRIPT, hosts=(HOST,), **choices)
        try:
            if bare is None:
                proxy.start()
            else:
                proxy.start_bare(bare)
            proxy.wait_ready()
            yield Sockets(proxy, heard)
        finally:
            proxy.end()
            relay.close()
            print(proxy.text())  # shown by pytest where a test fails
