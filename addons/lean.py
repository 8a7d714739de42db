"""What a proxy of our own need not pay for: a third of the CPU time of each message, and what the collector finds.

mitmproxy calls each of its thirty-odd addons twice per event of a message, and most return at once: they wait for an
option, or hold commands for a console that a gateway does not have. With its option set, each stays.

It checks the types of each message's fields, twelve exceptions for a message that has no fault. These, and the states
and layers of the message itself, make cycles: 89 containers, and the body, wait for the garbage collector. Without the
check and with the cycles undone, nothing of a message does. Connections, and what failed, still wait, but not with a
body: thirty of 15 MiB were a gigabyte before the collector came.
"""

import asyncio
import ctypes
import gc
import re
from asyncio.selector_events import _SelectorTransport  # type: ignore[attr-defined]
from collections.abc import Mapping
from typing import Any, Final

from mitmproxy import ctx
from mitmproxy.http import MessageData
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import HttpStream
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.layers.tls import TLSLayer

GARBAGE: Final = 10_000  # objects more than were let go, before the young ones are looked through; Python's own: 700
# name in `ctx.master.addons` -> the options that give it something to do; without any it only holds commands
WORKS_WITH: Final[Mapping[str, tuple[str, ...]]] = {
    "anticache": ("anticache",),
    "anticomp": ("anticomp",),
    "blocklist": ("block_list",),
    "browser": (),
    "commandhistory": (),
    "comment": (),
    "cut": (),
    "dumper": ("flow_detail",),
    "export": (),
    "keepserving": ("client_replay", "server_replay", "rfile"),
    "maplocal": ("map_local",),
    "mapremote": ("map_remote",),
    "modifybody": ("modify_body",),
    "modifyheaders": ("modify_headers",),
    "onboarding": ("onboarding",),
    "proxyauth": ("proxyauth",),
    "save": ("save_stream_file",),
    "savehar": ("hardump",),
    "serverplayback": ("server_replay",),
    "stickyauth": ("stickyauth",),
    "stickycookie": ("stickycookie",),
    "upstreamauth": ("upstream_auth",),
}
# name -> the modes in which it has something to do
WORKS_IN: Final[Mapping[str, tuple[str, ...]]] = {
    "dnsresolver": ("dns", "wireguard", "local", "tun"),
    "stripdnshttpsrecords": ("dns", "wireguard", "local", "tun"),
    "updatealtsvc": ("reverse",),
}

GIVE_BACK_SECONDS: Final = 60.0
PIECE: Final = 1 << 16  # bytes that TLS is given at once, or a connection asked for; as many as mitmproxy takes

_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc; others do so by themselves, or cannot
_flow_done, _handle_protocol_error = HttpStream.flow_done, HttpStream.handle_protocol_error
_send_data = TLSLayer.send_data


def make_lean() -> None:
    """Do without idle addons, cycles and free memory; have the garbage collector look at less, and less often."""
    dismiss_idle()
    undo_cycles()
    let_bodies_go()
    read_less_at_once()
    give_memory_back()
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 50)


def dismiss_idle() -> None:
    """Remove from the chain, for good, what has nothing to do with the options as they are."""
    addons: Any = ctx.master.addons
    modes = {re.split("[:@]", mode)[0] for mode in ctx.options.mode}
    idle = {name for name, options in WORKS_WITH.items() if not any(getattr(ctx.options, one) for one in options)}
    idle |= {name for name, needed in WORKS_IN.items() if modes.isdisjoint(needed)}
    for name in idle & addons.lookup.keys():
        addons.remove(addons.get(name))


def undo_cycles() -> None:
    """Have each HTTP message go when it is done. After an error, an upgrade or a CONNECT it waits as before."""
    MessageData.__post_init__ = lambda _self: None  # type: ignore[method-assign]
    HttpStream.state_done = staticmethod(state_done)  # type: ignore[method-assign]
    HttpStream.flow_done = flow_done  # type: ignore[method-assign]


def let_bodies_go() -> None:
    """Have none wait in a message that failed, nor in a TLS connection, whose buffer stays as long as it ever was."""
    HttpStream.handle_protocol_error = handle_protocol_error  # type: ignore[method-assign]
    TLSLayer.send_data = send_data  # type: ignore[method-assign]


def read_less_at_once() -> None:
    """Have asyncio ask for no more than is taken. It asks for 256 KiB, and what is not filled leaves holes in the heap:
    a message that stays a moment longer lies in one, the next read finds no room in it, and the process grows."""
    _SelectorTransport.max_size = PIECE


def give_memory_back() -> None:
    """Give the system what is free within the heap, now and each minute: it takes a millisecond or two."""
    if _malloc_trim is not None:
        _malloc_trim(0)
        asyncio.get_running_loop().call_later(GIVE_BACK_SECONDS, give_memory_back)


def state_done(_event: HttpEvent) -> CommandGenerator[None]:
    """As mitmproxy's; but bound to no stream, it keeps none."""
    yield from ()


def flow_done(self: HttpStream) -> CommandGenerator[None]:
    """End the message, and take its stream off the layers that the stream itself holds."""
    yield from _flow_done(self)
    if self.child_layer is None:
        self.context.layers.remove(self)


def handle_protocol_error(self: HttpStream, event: HttpEvent) -> CommandGenerator[None]:
    """End the message, and keep nothing of its body."""
    yield from _handle_protocol_error(self, event)  # type: ignore[arg-type]
    self.request_body_buf.clear()
    self.flow.request.data.content = None


def send_data(self: TLSLayer, data: bytes) -> CommandGenerator[None]:
    """Send `data` piece by piece."""
    for start in range(0, len(data), PIECE):
        yield from _send_data(self, data[start : start + PIECE])
