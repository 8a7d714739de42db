"""What a proxy of our own need not pay for: a third of the CPU time of each message.

mitmproxy calls each of its thirty-odd addons twice per event of a message, and most return at once: they wait for an
option, or hold commands for a console that a gateway does not have. With its option set, each stays.
"""

import gc
import re
from collections.abc import Mapping
from typing import Any, Final

from mitmproxy import ctx

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


def make_lean() -> None:
    """Do without idle addons, and have the garbage collector leave out what was loaded, and look less often."""
    dismiss_idle()
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
