"""What mitmdump loads in the tests of the canary: the addon as it ships, broken in one way on purpose.

`MUTEWATCH_TEST_BREAK` says which: gate-raises, gate-closed, no-match, no-decode, not-muted, read-only,
 dead-end, or clock=SECONDS, by which the gateway's clock is ahead.
"""

import os
from datetime import timedelta
from typing import Any

from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from msgspec.structs import replace

import mutewatch.compose
from addons import mute_audit
from addons.gate import Gate
from addons.mute_audit import MuteAudit
from mutewatch.mute import MuteTracker
from mutewatch.records import Exchange, MuteEvent
from mutewatch.signatures import Signature, load_signatures
from mutewatch.store import Store
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


class DeadEnd:
    """Leads every connection to where nobody listens."""

    def server_connect(self, data: ServerConnectionHookData) -> None:
        data.server.address = ("127.0.0.1", 9)


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
elif BREAK == "read-only":
    write = Store.record

    def refused(self: Store, *arguments: Any) -> None:
        with self._engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA query_only=ON")  # as on a file system that was remounted so
        write(self, *arguments)

    Store.record = refused  # type: ignore[method-assign,assignment]
elif BREAK.startswith("clock="):
    ahead = timedelta(seconds=float(BREAK.partition("=")[2]))
    read = vars(mute_audit)["exchange_from_flow"]

    def shifted(*arguments: Any, **choices: Any) -> Exchange:
        exchange: Exchange = read(*arguments, **choices)
        return replace(exchange, sent_at=exchange.sent_at + ahead if exchange.sent_at else None)

    vars(mute_audit)["exchange_from_flow"] = shifted

addons: list[Any] = [MuteAudit(hosts=(lambda: CLOSED) if BREAK == "gate-closed" else None)]
if BREAK == "dead-end":
    addons.append(DeadEnd())
