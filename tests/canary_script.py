"""What mitmdump loads in the tests of the canary: the addon as it ships, broken in one way on purpose.

`MUTEWATCH_TEST_BREAK` says which: gate-raises, gate-closed, no-match, no-decode, not-muted, redacts, blocks.
"""

import os
from dataclasses import replace
from typing import Any

from mitmproxy import http

import mutewatch.compose
from addons.gate import Gate
from addons.mute_audit import MuteAudit
from addons.recorder import telemetry_hosts
from mutewatch.mute import MuteTracker
from mutewatch.records import MuteEvent
from mutewatch.signatures import Signature, load_signatures
from mutewatch.signatures.fixtures import pack
from tests.canary_support import CLOSED

BREAK = os.environ.get("MUTEWATCH_TEST_BREAK", "")


def raising(self: Gate, host: str | None) -> bool:
    raise RuntimeError("the gate is broken")


def changed(**change: Any) -> tuple[Signature, ...]:
    """The signatures, with every message of the gains' one changed so."""
    return tuple(_changed(known, change) if known.id == "webex.tsa.v1" else known for known in load_signatures())


def _changed(known: Signature, change: dict[str, Any]) -> Signature:
    messages = [kind.model_dump() | change for kind in known.messages]
    return Signature.model_validate(known.model_dump() | {"messages": messages, "canary": None})


class Mitigation:
    """Blanks, or holds back, what carries gains: after it was recorded, as the gateway itself will."""

    def request(self, flow: http.HTTPFlow) -> None:
        if flow.request.pretty_host != "tsa3.webex.com":
            return
        if BREAK == "blocks":
            flow.response = http.Response.make(403)
        else:
            empty = '{"event":{"name":"client.mediaquality.event","intervals":[{}]}}'
            body = '{"telemetrics":[{"v":{"gzipb64data":"{inner}"}}]}'
            flow.request.content = pack(body, empty, ("gzip", "base64"))


if BREAK == "gate-raises":
    Gate.inspects = raising  # type: ignore[method-assign]
elif BREAK == "no-match":
    vars(mutewatch.compose)["load_signatures"] = lambda *_extra: changed(path="/metric/v2")
elif BREAK == "no-decode":
    vars(mutewatch.compose)["load_signatures"] = lambda *_extra: changed(each="document.renamed")
elif BREAK == "not-muted":
    known = MuteTracker.add

    def turned(self: MuteTracker, event: MuteEvent) -> set[str]:
        return known(self, replace(event, muted=not event.muted))

    MuteTracker.add = turned  # type: ignore[method-assign]

addons: list[Any] = [MuteAudit(hosts=lambda: CLOSED if BREAK == "gate-closed" else telemetry_hosts())]
if BREAK in ("redacts", "blocks"):
    addons.append(Mitigation())
