"""The canary's parts by themselves: messages, checks, tickets, and that it is nobody in the store."""

import asyncio
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy.proxy.mode_specs import ProxyMode
from msgspec import structs

from addons.canary_client import gateway_at
from addons.canary_route import CanaryRoutes, is_local
from addons.canary_ticket import LONGEST_SECONDS, Ticket, TicketError, take_ticket, ticket_path, write_ticket
from addons.counters import HookCounters
from mutewatch.canary import Expectation, check_arrival, check_judgement, check_record, messages
from mutewatch.commands.canary import options_for
from mutewatch.compose import PipelineOptions, build_recorder
from mutewatch.config import open_state
from mutewatch.errors import OperatorError
from mutewatch.identity import CANARY, CanaryNames, Names
from mutewatch.records import Exchange, Origin
from mutewatch.signatures import Signature, load_signatures
from tests.facts import at, tsa_exchange

SENT = messages(load_signatures(), "canary-1", at(5))
MUTE, AUDIO = SENT
CLIENT = ("127.0.0.1", 40000)
NOW = 1_000_000.0
TICKET = Ticket(*CLIENT, "tsa3.webex.com", 50000, "0" * 64, NOW + 20)


def exchange(number: int, door: str = CANARY, status: int | None = None) -> Exchange:
    message = SENT[number]
    path, _, query = message.path.partition("?")
    origin = Origin(door)
    return Exchange(
        at(5), "127.0.0.1", message.host, 443, message.method, path, query, message.body, origin, status=status
    )


# -- messages ------------------------------------------------------------------------------------------------


def test_mutes_are_sent_before_the_audio() -> None:
    assert [(message.signature.id, message.tells_audio) for message in SENT] == [
        ("webex.clientmetrics", False),
        ("webex.tsa.v1", True),
    ]


@pytest.mark.parametrize("message", SENT, ids=lambda message: message.signature.id)
def test_each_message_is_read_by_its_signature(message: Any) -> None:
    decoded = message.read(message.body)
    assert decoded is not None
    assert {fact.call for fact in (*decoded.audio, *decoded.mute)} == {"canary-1"}
    assert decoded.undecoded == ()


def test_a_canary_that_its_signature_does_not_match_is_no_signature() -> None:
    signature = AUDIO.signature.model_dump()
    signature["canary"]["path"] = "/elsewhere"
    with pytest.raises(ValueError, match="none of this signature's messages"):
        Signature.model_validate(signature)


# -- checks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bodies", "expected", "holds"),
    [
        ([AUDIO.body], "observe", True),
        ([AUDIO.body, AUDIO.body], "observe", False),
        ([AUDIO.body + b" "], "observe", False),
        ([], "observe", False),
        ([AUDIO.body], "redact", False),
        ([b"{}"], "redact", True),
        ([], "redact", False),
        ([], "block", True),
        ([b"{}"], "block", False),
    ],
)
def test_what_arrived_is_held_against_what_was_expected(bodies: list[bytes], expected: str, holds: bool) -> None:
    assert check_arrival(AUDIO, [(body, None) for body in bodies], Expectation(expected)).holds is holds


def test_one_value_that_was_left_is_told() -> None:
    canary = AUDIO.signature.canary
    assert canary is not None
    assert canary.inner is not None
    inner = canary.inner.replace('"audioMaxGain":47,"audioMeanGain":33', '"audioMaxGain":0')
    left = AUDIO.signature.model_copy(update={"canary": canary.model_copy(update={"inner": inner})})
    (body,) = (message.body for message in messages([left], "canary-1", at(5)))
    check = check_arrival(AUDIO, [(body, None)], Expectation.REDACT)
    assert (check.holds, check.text) == (False, "it arrived unredacted: audioMinGain")


def test_what_is_in_the_store_of_another_run_is_not_this_runs(tmp_path: Path) -> None:
    recorder = build_recorder(open_state(tmp_path / "s"), PipelineOptions(activity=False), at(0))
    recorder.record([exchange(0), exchange(1)])
    facts, found = recorder.store.canary("canary-1", at(4))
    assert [check_record(message, facts).holds for message in SENT] == [True, True]
    assert [check.text for check in check_judgement(SENT, found)] == ["flagged by MW-MUTED"]
    other = messages(load_signatures(), "canary-2", at(5))
    assert [check_record(message, facts).holds for message in other] == [False, False]
    assert recorder.store.canary("canary-2", at(4))[1] == []
    assert recorder.store.canary("canary-1", at(6))[0] == []


# -- nobody --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("show_clients", [False, True])
def test_what_comes_through_the_canarys_door_is_no_client(tmp_path: Path, show_clients: bool) -> None:
    options = PipelineOptions(activity=False, show_clients=show_clients)
    recorder = build_recorder(open_state(tmp_path / "s"), options, at(0))
    recorder.record(
        [
            exchange(0),
            exchange(1),
            structs.replace(tsa_exchange(1), status=None),
            exchange(0, status=204),
            exchange(1, status=204),
        ]
    )
    counts = recorder.pipeline.counts
    assert (counts.canaries, counts.exchanges, counts.matched, counts.mute_events) == (2, 1, 1, 0)
    assert [finding.client == CANARY for finding in recorder.store.findings()] == [False]
    assert sum(recorder.store.verdicts().values()) == 1
    facts = list(recorder.store.facts_since(at(0), 10))
    named = {audio.client for decoded in facts for audio in decoded.audio if decoded.source.address == CANARY}
    assert named == {CANARY}


def test_the_same_messages_through_the_live_door_are_somebodys(tmp_path: Path) -> None:
    recorder = build_recorder(open_state(tmp_path / "s"), PipelineOptions(activity=False), at(0))
    recorder.record([exchange(0, "live"), exchange(1, "live")])
    assert recorder.store.verdicts() == {"flagged": 1}
    assert recorder.pipeline.counts.canaries == 0


@pytest.mark.parametrize("key", [None, b"k" * 32])
def test_nobody_can_take_the_canarys_name(key: bytes | None) -> None:
    assert Names(key).pseudonym(CANARY) != CANARY
    assert CanaryNames().pseudonym("anybody") == CANARY


# -- tickets -------------------------------------------------------------------------------------------------


def test_a_ticket_is_private_and_taken_once(tmp_path: Path) -> None:
    path = write_ticket(tmp_path, TICKET)
    assert path.stat().st_mode & 0o777 == 0o600
    assert take_ticket(tmp_path, CLIENT, TICKET.host, NOW) == TICKET
    assert take_ticket(tmp_path, CLIENT, TICKET.host, NOW) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"expires_at": NOW - 1}, "expired"),
        ({"expires_at": NOW + LONGEST_SECONDS + 1}, "holds for too long"),
        ({"expires_at": float("nan")}, "holds for too long"),
        ({"client": "127.0.0.2"}, "another client's"),
        ({"host": "www.example.com"}, "for another host"),
        ({"far_end_port": 0}, "damaged"),
        ({"fingerprint": "0"}, "damaged"),
    ],
)
def test_a_ticket_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    write_ticket(tmp_path, replace(TICKET, **change))
    with pytest.raises(TicketError, match=why):
        take_ticket(tmp_path, CLIENT, TICKET.host, NOW)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "[" * 1000, '{"client": 1}', "x" * 2000])
def test_a_ticket_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    write_ticket(tmp_path, TICKET).write_text(text)
    with pytest.raises(TicketError, match=r"damaged|too long"):
        take_ticket(tmp_path, CLIENT, TICKET.host, NOW)


def test_a_fifo_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(ticket_path(tmp_path, CLIENT[1]), 0o600)
    with pytest.raises(TicketError, match="not a plain file"):
        take_ticket(tmp_path, CLIENT, TICKET.host, NOW)


def test_a_second_name_of_a_ticket_is_refused(tmp_path: Path) -> None:
    path = write_ticket(tmp_path, TICKET)
    (tmp_path / "other").hardlink_to(path)
    with pytest.raises(TicketError, match="not a plain file"):
        take_ticket(tmp_path, CLIENT, TICKET.host, NOW)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_ticket_is_refused(tmp_path: Path) -> None:
    os.chown(write_ticket(tmp_path, TICKET), 12345, 12345)
    with pytest.raises(TicketError, match="another user's"):
        take_ticket(tmp_path, CLIENT, TICKET.host, NOW)


# -- routes --------------------------------------------------------------------------------------------------


def connection(peer: str, sock: str, mode: str = "regular") -> Any:
    return SimpleNamespace(id="c1", peername=(peer, 40000), sockname=(sock, 8080), proxy_mode=ProxyMode.parse(mode))


def led(state: Path, client: Any) -> tuple[CanaryRoutes, Any]:
    """The routes after this client's CONNECT, and what they made of the connection to the server."""
    routes = CanaryRoutes(HookCounters())
    routes.open(state)
    flow: Any = SimpleNamespace(client_conn=client, request=SimpleNamespace(host=TICKET.host))
    asyncio.run(routes.http_connect(flow))
    data: Any = SimpleNamespace(client=client, server=SimpleNamespace(address=(TICKET.host, 443), error=None))
    asyncio.run(routes.server_connect(data))
    return routes, data.server


@pytest.mark.parametrize(("peer", "sock", "local"), [("10.0.0.1", "10.0.0.1", True), ("10.0.0.2", "10.0.0.1", False)])
def test_only_this_machines_connections_are_looked_up(tmp_path: Path, peer: str, sock: str, local: bool) -> None:
    write_ticket(tmp_path, replace(TICKET, client=peer, expires_at=time.time() + 20))
    client = connection(peer, sock)
    routes, server = led(tmp_path, client)
    assert is_local(client) is local
    assert server.address == (("127.0.0.1", TICKET.far_end_port) if local else (TICKET.host, 443))
    assert routes.door(client) == (CANARY if local else "live")
    routes.client_disconnected(client)
    assert routes.door(client) == "live"


def test_a_canary_that_cannot_be_led_goes_nowhere(tmp_path: Path) -> None:
    write_ticket(tmp_path, replace(TICKET, expires_at=time.time() + 20))
    _, server = led(tmp_path, connection("127.0.0.1", "127.0.0.1", "upstream:https://proxy.example.com:3128"))
    assert "speaks TLS" in server.error


# -- what the operator writes --------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "https://127.0.0.1:8080", "http://127.0.0.1", "http://[:1"])
def test_a_proxy_that_is_no_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(OperatorError, match="write http://host:port"):
        gateway_at(url, tmp_path, tmp_path)


def test_the_proxys_password_is_sent_as_basic_authentication(tmp_path: Path) -> None:
    assert gateway_at("http://me:a%3Ab@127.0.0.1:8080", tmp_path, tmp_path).authorization == "Basic bWU6YTpi"


def test_a_ticket_holds_no_more_than_it_must(tmp_path: Path) -> None:
    held = json.loads(write_ticket(tmp_path, TICKET).read_text())
    assert set(held) == {"client", "client_port", "host", "far_end_port", "fingerprint", "expires_at"}


# -- what the settings say -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "proxy", "expected"),
    [
        ("", "http://127.0.0.1:8080", "observe"),
        ('listen = {host = "", port = 3128}', "http://127.0.0.1:3128", "observe"),
        ('listen.host = "fd00::1"', "http://[fd00::1]:8080", "observe"),
        ('listen.mode = "upstream:http://proxy:1"', "http://127.0.0.1:8080", "observe"),
        ('mitigation.action = "redact"', "http://127.0.0.1:8080", "redact"),
        ('[mitigation.signatures."webex.tsa.v1"]\naction = "block"', "http://127.0.0.1:8080", "block"),
        ('[mitigation.signatures."webex.locus"]\naction = "block"', "http://127.0.0.1:8080", "observe"),
    ],
)
def test_the_settings_say_where_the_gateway_is_and_what_it_does(
    tmp_path: Path, text: str, proxy: str, expected: str
) -> None:
    file = tmp_path / "m.toml"
    file.write_text(text)
    options = options_for(file, tmp_path, None, None, None, None)
    assert (options.state, options.proxy, options.expected) == (tmp_path, proxy, Expectation(expected))


def test_the_command_line_wins_over_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text('listen.mode = "transparent"\nmitigation.action = "redact"')
    options = options_for(file, tmp_path, "http://gw:1", None, Expectation.BLOCK, 5)
    assert (options.proxy, options.expected, options.every) == ("http://gw:1", Expectation.BLOCK, 5)
    with pytest.raises(OperatorError, match="not transparent"):
        options_for(file, tmp_path, None, None, None, None)
