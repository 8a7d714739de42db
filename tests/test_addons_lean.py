"""Addons of mitmproxy leave the chain where they have nothing to do, and only there; messages go when they are done."""

import asyncio
import contextlib
import os
import socket
from asyncio.selector_events import _SelectorTransport  # type: ignore[attr-defined]
from pathlib import Path

import pytest
from mitmproxy import ctx, options
from mitmproxy.tools.dump import DumpMaster

from addons import lean
from addons.launch import addon_path
from addons.lean import PIECE, WORKS_IN, WORKS_WITH, dismiss_idle, give_memory_back, read_less_at_once
from tests.live_support import TELEMETRY, Received, Scene
from tests.test_gateway_clients import resident_bytes

COUNTING = """
import gc
from mitmproxy.http import HTTPFlow

def running():
    gc.disable()

def done():
    print("flows left:", sum(type(one) is HTTPFlow for one in gc.get_objects()), flush=True)
"""


def left(**chosen: object) -> set[str]:
    """Return the names of the addons that `mitmdump` keeps with these options."""

    async def started() -> set[str]:
        master = DumpMaster(options.Options())
        ctx.options.update(**{"flow_detail": 0, "onboarding": False, **chosen})
        dismiss_idle()
        return set(master.addons.lookup)

    return asyncio.run(started())


def test_what_waits_for_an_option_or_a_console_goes() -> None:
    names = left()
    assert not names & WORKS_WITH.keys()
    assert not names & WORKS_IN.keys()
    assert names >= {"core", "proxyserver", "nextlayer", "tlsconfig", "scriptloader", "block", "errorcheck"}


@pytest.mark.parametrize("name", [*WORKS_WITH, *WORKS_IN])
def test_every_name_is_one_of_mitmproxys_addons(name: str) -> None:
    async def names() -> set[str]:
        return set(DumpMaster(options.Options()).addons.lookup)

    assert name in asyncio.run(names())


@pytest.mark.parametrize(
    ("chosen", "name"),
    [
        ({"modify_headers": ["/~q/x-site/one"]}, "modifyheaders"),
        ({"block_list": [":~d evil.test:403"]}, "blocklist"),
        ({"proxyauth": "somebody:secret"}, "proxyauth"),
        ({"upstream_auth": "somebody:secret"}, "upstreamauth"),
        ({"anticache": True}, "anticache"),
        ({"flow_detail": 1}, "dumper"),
        ({"mode": ["wireguard@51821"]}, "dnsresolver"),
        ({"mode": ["regular", "dns@5353"]}, "stripdnshttpsrecords"),
        ({"mode": ["reverse:https://one.test"]}, "updatealtsvc"),
    ],
)
def test_what_an_option_asks_for_stays(chosen: dict[str, object], name: str) -> None:
    assert name in left(**chosen)


@pytest.mark.live
def test_an_option_of_mitmproxys_that_is_passed_on_still_works(live: Scene) -> None:
    with live.proxy(extra=["modify_body=/~q/was/is"]) as proxy:
        proxy.post(TELEMETRY, b"it was so")
        assert [received.body for received in live.upstream.received] == [b"it is so"]


def test_a_connection_is_asked_for_no_more_than_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Noting(socket.socket):
        def recv(self, size: int, flags: int = 0) -> bytes:
            asked.append(size)
            return super().recv(size, flags)

    async def read() -> bytes:
        here, there = socket.socketpair()
        with there:
            there.send(b"{}")
            reader, writer = await asyncio.open_connection(sock=Noting(fileno=here.detach()))
            with contextlib.closing(writer):
                return await reader.read(PIECE)

    monkeypatch.setattr(_SelectorTransport, "max_size", _SelectorTransport.max_size)
    read_less_at_once()
    assert asyncio.run(read()) == b"{}"
    assert asked == [PIECE]


def test_memory_that_is_free_goes_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    async def let_go() -> int:
        give_memory_back()
        pieces = [bytes(1000) for _ in range(100_000)]
        before = resident_bytes(os.getpid())
        del pieces[:-1:2], pieces[:-1:2], pieces[:-1:2], pieces[:-1:2]  # what is left lies between
        await asyncio.sleep(0.3)
        return before - resident_bytes(os.getpid())

    monkeypatch.setattr(lean, "GIVE_BACK_SECONDS", 0.1)
    assert asyncio.run(let_go()) > 50_000_000


@pytest.mark.live
@pytest.mark.parametrize("is_inspected", [True, False])
def test_no_message_waits_for_the_garbage_collector(live: Scene, tmp_path: Path, is_inspected: bool) -> None:
    counting = tmp_path / "counting.py"
    counting.write_text(COUNTING)
    with live.proxy(script=addon_path(), raw=["-s", str(counting)]) as proxy:
        with contextlib.closing(proxy.connect(TELEMETRY)) as connection:
            for _ in range(20):
                connection.request("POST", "/metric/v2/metrics" if is_inspected else "/other", b"{}" * 1000)
                connection.getresponse().read()
        assert proxy.stop() == 0
        assert "flows left: 1\n" in proxy.text()  # the CONNECT


@pytest.mark.live
@pytest.mark.parametrize("end", ["answered", "reset", "unreachable", "broken off"])
def test_no_body_waits_for_the_garbage_collector(live: Scene, end: str) -> None:
    body = bytes(15 << 20)

    def reset(_request: Received) -> None:
        raise ConnectionResetError

    with live.proxy(live={"strict": True}) as proxy:
        assert proxy.post(TELEMETRY, b"first") == 204
        before = resident_bytes(proxy.process.pid)
        if end == "reset":
            live.upstream.on_request = reset
        live.relay.away = end == "unreachable"
        for _ in range(12):
            if end == "broken off":
                connection = proxy.connect(TELEMETRY)
                connection.putrequest("POST", "/")
                connection.putheader("Content-Length", str(len(body) + 1))
                connection.endheaders(body)
                connection.close()
            else:
                assert proxy.post(TELEMETRY, body) == (204 if end == "answered" else 502)
            live.upstream.received.clear()
            assert resident_bytes(proxy.process.pid) - before < 6 * len(body)
