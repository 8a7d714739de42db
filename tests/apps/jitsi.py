"""Jitsi Meet: rtcstats, with and without the button's events; and the presence of its XMPP room."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from mutewatch.records import Basis
from tests.apps.app import App, Connection, Said, in_time
from tests.apps.script import PRESSES, Poll, every, milliseconds, polls
from tests.apps.stats import PEER, Reports, by_id, reports

HOST, XMPP, PERIOD = "rtcstats-server-8x8.jitsi.net", "meet.jit.si", 10.0
FIELDS = ("audioLevel", "totalAudioEnergy")


def jitsi() -> App:
    """Both facts on the one socket."""
    polled, session = polls(5, PERIOD), "S-1"
    socket = stats_socket(
        ("127.0.0.21", 20_021), session, in_time(_first(session), presses(session), stats(polled, session))
    )
    times = tuple(poll.seconds for poll in polled)
    return App("jitsi", "jitsi.rtcstats", (socket,), FIELDS, times, PERIOD)


def jitsi_cut_in_two(cut: float, whole_again: float) -> tuple[Connection, Connection]:
    """The same, and its socket breaks: the client comes back, goes on with what changes, and later says all again."""
    polled, session, client = polls(5, PERIOD), "S-3", "127.0.0.30"
    said = in_time(_first(session), presses(session), stats(polled, session))
    changes = (one for one in said if cut < one.seconds < whole_again)
    rest = (one for one in presses(session) if one.seconds > whole_again)
    anew = stats([poll for poll in polled if poll.seconds > whole_again], session)
    return (
        stats_socket((client, 20_030), session, tuple(one for one in said if one.seconds < cut)),
        stats_socket((client, 21_030), session, in_time(changes, rest, anew), again=True),
    )


def jitsi_with_xmpp(
    name: str = "jitsi with xmpp", client: str = "127.0.0.22", port: int = 20_022, session: str = "S-2"
) -> App:
    """The level on one socket, the button on another, and only the address in common."""
    polled = polls(5, PERIOD)
    socket = stats_socket((client, port), session, in_time(_first(session), stats(polled, session)))
    room = _room((client, port + 1_000), in_time(_presence(session)))
    times = tuple(poll.seconds for poll in polled)
    return App(name, "jitsi.rtcstats", (room, socket), FIELDS, times, PERIOD, Basis.ADDRESS)


def jitsi_that_moves(moves: float) -> App:
    """The same, and the client changes its network: both sockets come again, from another address.

    The room's stream is resumed (XEP-0198), so that nothing is said again there.
    """
    polled, session, times = polls(5, PERIOD), "S-4", tuple(every(5, PERIOD))
    said = in_time(_first(session), stats(polled, session))
    anew = stats([poll for poll in polled if poll.seconds > moves], session)
    presence = in_time(_presence(session))
    resumed = Said(moves, '<resume xmlns="urn:xmpp:sm:3" h="3" previd="x"/>')
    connections = (
        _room(("127.0.0.31", 21_031), tuple(one for one in presence if one.seconds < moves)),
        stats_socket(("127.0.0.31", 20_031), session, tuple(one for one in said if one.seconds < moves)),
        _room(("127.0.0.32", 21_032), (resumed, *(one for one in presence if one.seconds > moves))),
        stats_socket(("127.0.0.32", 20_032), session, tuple(anew), again=True),
    )
    return App("jitsi that moves", "jitsi.rtcstats", connections, FIELDS, times, PERIOD, Basis.ADDRESS)


def _room(client: tuple[str, int], messages: tuple[Said, ...]) -> Connection:
    return Connection(XMPP, client, messages, "/room/xmpp-websocket?room=room", "xmpp")


def stats_socket(
    client: tuple[str, int], session: str, messages: tuple[Said, ...], *, again: bool = False
) -> Connection:
    path = f"/room?statsSessionId={session}&isReconnect={json.dumps(again)}"
    return Connection(HOST, client, messages, path, "3.1_STANDARD")


def stats(polled: list[Poll], session: str, before: Reports | None = None) -> Iterator[Said]:
    """getStats, each without what the one before said."""
    known = before or {}
    for poll in polled:
        now = reports(poll)
        yield _entry(poll.seconds, session, "getstats", PEER, by_id(known, now, drops=False))
        known = now


def presses(session: str) -> Iterator[Said]:
    for seconds, muted in PRESSES:
        yield _entry(seconds, session, "audioMutedChanged", PEER if seconds else None, muted)


def _first(session: str) -> Iterator[Said]:
    identity = {"confName": "room", "displayName": "Ann", "roomJid": "room@conference.example"}
    row = ["identity", None, identity, milliseconds(0), 1]
    yield Said(0, json.dumps({"statsSessionId": session, "type": "identity", "data": row}))
    yield from (Said(s, json.dumps({"statsSessionId": session, "type": "keepalive"})) for s in (31, 151))


def _entry(seconds: float, session: str, name: str, peer: str | None, data: Any) -> Said:
    row = json.dumps([name, peer, data, milliseconds(seconds), round(seconds)], separators=(",", ":"))
    return Said(seconds, json.dumps({"statsSessionId": session, "type": "stats-entry", "data": row}))


def _presence(session: str) -> Iterator[Said]:
    """Our own, as it changes; and another's, who is always the opposite."""
    own = f"ab12cd3{session[-1]}"
    yield Said(0, '<open to="meet.jit.si" version="1.0" xmlns="urn:ietf:params:xml:ns:xmpp-framing"/>')
    for seconds, muted in PRESSES:
        sources = {f"{own}-a0": {"muted": True} if muted else {}, f"{own}-v0": {"muted": True}}
        yield Said(seconds, _stanza(f'to="room@conference.meet.jit.si/{own}"', sources))
        others = {"99ffee00-a0": {"muted": not muted}}
        yield Said(seconds, _stanza('from="room@conference.meet.jit.si/99ffee00"', others), from_client=False)
    yield Said(95, '<iq type="get" id="1" xmlns="jabber:client"><ping xmlns="urn:xmpp:ping"/></iq>')


def _stanza(address: str, sources: dict[str, Any]) -> str:
    info = escape(json.dumps(sources))
    return f'<presence {address} xmlns="jabber:client"><nick>Ann</nick><SourceInfo>{info}</SourceInfo></presence>'
