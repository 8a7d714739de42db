"""The hooks by themselves, in mitmproxy's own test context."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy import exceptions, http, tls
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.test import taddons, tflow
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import Opcode

from addons.apply import refuse
from addons.committer import Fate
from addons.counters import HookCounters
from addons.mute_audit import MuteAudit
from addons.ws_messages import Websockets
from mutewatch.flow import exchange_from_flow, message_from_flow
from mutewatch.records import Exchange, Origin
from mutewatch.signatures import load_signatures
from tests.live_recorder import HOSTS, SqliteRecorder, recorded
from tests.sockets.talk import HOST, PATH, SIGNATURE_FILE, STATE


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


class TlsConfig:
    """Where mitmproxy keeps the certificates that it shows."""

    def __init__(self) -> None:
        self.certstore = SimpleNamespace(certs={})


def make() -> MuteAudit:
    return MuteAudit(hosts=lambda: HOSTS, build=SqliteRecorder)


def hello(sni: str | None, asked: str = "tsa3.webex.com") -> tls.ClientHelloData:
    context = SimpleNamespace(
        client=SimpleNamespace(peername=("192.0.2.7", 50_000)), server=SimpleNamespace(address=(asked, 443))
    )
    said = SimpleNamespace(sni=sni, extensions=[])
    return tls.ClientHelloData(context, said)  # type: ignore[arg-type]


def test_an_embedded_addon_starts_without_a_call_of_configure(state: Path) -> None:
    async def scenario() -> None:
        audit = make()
        with taddons.context(Proxyserver(), TlsConfig(), audit) as context:
            context.options.update(mutewatch_state=str(state))
            await audit.running()
            assert [rule for rule in context.options.allow_hosts if "webex" in rule]
            assert json.loads(context.master.commands.call("mutewatch.status"))["messages"] == 0
            audit.done()
            audit.done()

    asyncio.run(scenario())


def test_before_anything_stands_every_connection_passes() -> None:
    audit, data = make(), hello("tsa3.webex.com")
    audit.tls_clienthello(data)
    assert data.ignore_connection


@pytest.mark.parametrize(
    ("sni", "is_passed"),
    [("tsa3.webex.com", False), ("www.example.com", True), (None, True), ("10.0.0.1", True)],
)
def test_the_hello_decides(state: Path, sni: str | None, is_passed: bool) -> None:
    async def scenario() -> None:
        audit = make()
        with taddons.context(Proxyserver(), TlsConfig(), audit) as context:
            context.configure(audit, mutewatch_state=str(state))
            data = hello(sni)
            audit.tls_clienthello(data)
            assert data.ignore_connection == is_passed
            assert audit.counters.uninspected == int(is_passed)
            audit.done()

    asyncio.run(scenario())


def test_a_hello_that_cannot_be_read_passes(state: Path) -> None:
    async def scenario() -> None:
        audit = make()
        with taddons.context(Proxyserver(), TlsConfig(), audit) as context:
            context.configure(audit, mutewatch_state=str(state))
            data = tls.ClientHelloData(None, None)  # type: ignore[arg-type]
            audit.tls_clienthello(data)
            assert data.ignore_connection
            assert audit.counters.gate_errors == 1
            audit.done()

    asyncio.run(scenario())


def test_a_message_after_the_stop_is_not_forwarded_unrecorded(state: Path) -> None:
    async def scenario() -> None:
        audit = make()
        with taddons.context(Proxyserver(), TlsConfig(), audit) as context:
            context.configure(audit, mutewatch_state=str(state))
            audit.done()
            flow = tflow.tflow()
            flow.request.host = "tsa3.webex.com"
            await audit.request(flow)
            assert flow.error is not None
            assert audit.counters.cut == 1

    asyncio.run(scenario())


def test_plain_http_to_other_hosts_is_streamed_and_not_recorded(state: Path) -> None:
    async def scenario() -> None:
        audit = make()
        with taddons.context(Proxyserver(), TlsConfig(), audit) as context:
            context.configure(audit, mutewatch_state=str(state))
            flow = tflow.tflow(resp=True)
            await audit.requestheaders(flow)
            flow.response = None
            await audit.requestheaders(flow)
            await audit.request(flow)
            assert flow.request.stream
            audit.done()

    asyncio.run(scenario())
    assert recorded(state) == []


@pytest.mark.parametrize(
    ("version", "named", "is_recorded", "status"),
    [
        ("HTTP/2.0", "tsa3.webex.com", True, None),
        ("HTTP/2.0", "www.example.com", False, 421),
        ("HTTP/1.1", "tsa3.webex.com:443", True, None),
        ("HTTP/1.1", "www.example.com", True, None),  # it goes where the connection goes
        ("HTTP/1.0", None, True, None),
    ],
)
def test_only_http2_puts_requests_to_other_hosts_into_an_opened_connection(
    state: Path, version: str, named: str | None, is_recorded: bool, status: int | None
) -> None:
    async def scenario() -> None:
        audit = make()
        with taddons.context(Proxyserver(), TlsConfig(), audit) as context:
            context.configure(audit, mutewatch_state=str(state))
            flow = tflow.tflow()
            flow.client_conn.sni, flow.request.http_version, flow.request.host = "tsa3.webex.com", version, "192.0.2.1"
            flow.request.host_header = named
            await audit.requestheaders(flow)
            assert not flow.request.stream
            await audit.request(flow)
            assert (flow.response.status_code if flow.response else None) == status
            assert (audit.counters.messages, audit.counters.misdirected) == (is_recorded, not is_recorded)
            audit.done()

    asyncio.run(scenario())
    assert len(recorded(state)) == is_recorded


def test_a_fault_of_ours_in_a_hook_forwards_the_message_and_is_counted(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        audit = make()
        with taddons.context(Proxyserver(), TlsConfig(), audit) as context:
            context.configure(audit, mutewatch_state=str(state))
            flow = tflow.tflow()
            monkeypatch.setattr(flow.client_conn, "sni", 7)
            await audit.request(flow)
            assert flow.error is None
            assert audit.counters.hook_errors == 1
            audit.done()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("mutewatch_record_timeout", "soon", "write seconds"),
        ("mutewatch_record_timeout", "0", "above 0"),
        ("mutewatch_max_body", 1, "write 1,024"),
        ("allow_hosts", [".*"], "allow_hosts is set by mutewatch"),
        ("ignore_hosts", ["x"], "ignore_hosts cannot be combined"),
        ("stream_large_bodies", "1k", "stream_large_bodies is below"),
        ("tcp_hosts", ["x"], "tcp_hosts lets messages pass"),
    ],
)
def test_a_wrong_option_is_refused_at_the_start(state: Path, option: str, value: object, said: str) -> None:
    async def scenario() -> None:
        with taddons.context(Proxyserver()) as context:
            audit = make()
            context.master.addons.register(audit)
            context.options.update(mutewatch_state=str(state), **{option: value})
            with pytest.raises(exceptions.OptionsError, match=said):
                audit.configure(set())

    asyncio.run(scenario())


def test_the_size_of_the_queue_cannot_change_while_running(state: Path) -> None:
    async def scenario() -> None:
        audit = make()
        with taddons.context(Proxyserver(), TlsConfig(), audit) as context:
            context.configure(audit, mutewatch_state=str(state))
            context.configure(audit, mutewatch_record_timeout="0.5")
            with pytest.raises(exceptions.OptionsError, match=r"only record_timeout, .* can change"):
                context.configure(audit, mutewatch_queue_size=7)
            audit.done()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mutewatch_action": "delete"}, "mutewatch_action is 'delete'; write observe, redact, block"),
        ({"mutewatch_when": "often"}, "mutewatch_when is 'often'; write muted, always"),
        ({"mutewatch_actions": ["webex=redact"]}, "no signature 'webex'; there are chime"),
        (
            {"mutewatch_action": "redact", "server": False, "stream_large_bodies": "10m"},
            "lets bodies leave before they are recorded",
        ),
        (
            {"mutewatch_strict": True, "server": False, "stream_large_bodies": "10m"},
            "lets bodies leave before they are recorded",
        ),
        ({"mutewatch_action": "block"}, "redact, block and strict need mitmdump -n"),
    ],
)
def test_a_wrong_word_on_what_to_do_with_messages_stops_the_start(
    state: Path, options: dict[str, Any], said: str
) -> None:
    async def scenario() -> None:
        audit = make()
        with (
            taddons.context(Proxyserver(), TlsConfig(), audit) as context,
            pytest.raises(exceptions.OptionsError, match=said),
        ):
            context.configure(audit, mutewatch_state=str(state), **options)

    asyncio.run(scenario())


def test_holding_messages_back_cannot_begin_while_bodies_may_leave_early(state: Path) -> None:
    async def scenario() -> None:
        audit = make()
        with taddons.context(Proxyserver(), TlsConfig(), audit) as context:
            context.configure(audit, mutewatch_state=str(state))
            with pytest.raises(exceptions.OptionsError, match="restart the proxy to begin"):
                context.configure(audit, mutewatch_action="redact")
            audit.done()

    asyncio.run(scenario())


def test_whoever_wants_a_body_streamed_it_is_held_until_it_was_looked_at(state: Path) -> None:
    async def scenario() -> None:
        audit = make()
        with taddons.context(Proxyserver(), TlsConfig(), audit) as context:
            context.configure(audit, mutewatch_state=str(state), mutewatch_action="redact", server=False)
            assert not context.options.rawtcp
            flow = tflow.tflow()
            flow.request.host = "tsa3.webex.com"
            flow.request.stream = True
            await audit.requestheaders(flow)
            assert not flow.request.stream
            audit.done()

    asyncio.run(scenario())


def test_a_store_that_does_not_open_stops_the_start(state: Path) -> None:
    (state / "store.sqlite").mkdir()

    async def scenario() -> None:
        audit = make()
        with (
            taddons.context(Proxyserver(), TlsConfig(), audit) as context,
            pytest.raises(exceptions.OptionsError, match="could not open its store"),
        ):
            context.configure(audit, mutewatch_state=str(state))

    asyncio.run(scenario())


def said(content: bytes, *, from_client: bool = True) -> tuple[http.HTTPFlow, WebSocketMessage]:
    """A websocket of the tests' signature with one new message."""
    flow = tflow.twebsocketflow()
    flow.request.host, flow.request.path = HOST, PATH
    assert flow.websocket
    message = WebSocketMessage(Opcode.TEXT, from_client, content)
    flow.websocket.messages.append(message)
    return flow, message


def with_signature() -> MuteAudit:
    return MuteAudit(lambda: (HOST,), SqliteRecorder, None, lambda: load_signatures(SIGNATURE_FILE))


def test_what_a_websockets_server_says_is_recorded_and_waits_for_nothing(state: Path) -> None:
    async def scenario() -> None:
        audit = with_signature()
        with taddons.context(Proxyserver(), TlsConfig(), audit) as context:
            context.configure(audit, mutewatch_state=str(state), mutewatch_record_timeout="30")
            (state / "block").touch()  # a client's message would wait now
            flow, message = said(b"{}", from_client=False)
            await asyncio.wait_for(audit.websocket_message(flow), 5)
            assert not message.dropped
            assert (audit.counters.answers, audit.counters.messages) == (1, 0)
            assert flow.websocket and flow.websocket.messages == [message]  # the older ones are let go
            (state / "block").unlink()
            audit.done()

    asyncio.run(scenario())
    assert [row[2] for row in recorded(state)] == [PATH]


@pytest.mark.parametrize(("holds_back", "waited"), [(False, [0.2, 0.15, 0.1, 0.05, 0.0, 0.0]), (True, [0.2] * 6)])
def test_a_burst_of_websocket_messages_waits_no_longer_than_one_message_may_unless_it_must(
    holds_back: bool, waited: list[float]
) -> None:
    """A commit takes 50 ms here, and each message comes as soon as the one before it has gone on."""
    now, timeouts = [100.0], list[float]()

    async def put_and_wait(_exchange: Exchange, timeout: float, *, is_next: bool) -> Fate:
        assert is_next is (0 < len(timeouts) < 6)
        timeouts.append(round(timeout, 3))
        now[0] += min(timeout, 0.05)
        return Fate.LATE

    settings = SimpleNamespace(record_timeout=0.2, max_body=1_000)
    live: Any = SimpleNamespace(
        settings=settings,
        holds_back=holds_back,
        knows=lambda _: True,
        writer=SimpleNamespace(put_and_wait=put_and_wait),
    )
    counters = HookCounters()
    reader = Websockets(counters, lambda *_, **_more: None, lambda *_: None, lambda: now[0])
    flow, message = said(b"{}")
    exchange = message_from_flow(exchange_from_flow(flow, Origin("live")), message)

    async def burst() -> None:
        for _ in range(6):
            await reader.take(live, flow, message, exchange)

    asyncio.run(burst())
    assert timeouts == waited
    assert (counters.unrecorded, counters.refused) == ((0, 6) if holds_back else (6, 0))
    now[0] += 1  # a pause, and the next one may wait again
    asyncio.run(reader.take(live, flow, message, exchange))
    assert timeouts[-1] == 0.2


def test_a_fault_while_a_websocket_message_is_read_drops_it_only_where_it_must_not_leave(state: Path) -> None:
    async def scenario() -> None:
        for is_strict in (False, True):
            audit = with_signature()
            with taddons.context(Proxyserver(), TlsConfig(), audit) as context:
                context.configure(audit, mutewatch_state=str(state), mutewatch_strict=is_strict, server=False)
                flow, message = said(b"{}")
                message.content = None  # type: ignore[assignment]
                await audit.websocket_message(flow)
                assert (message.dropped, audit.counters.hook_errors) == (is_strict, 1)
                audit.done()

    asyncio.run(scenario())


def test_a_response_that_breaks_off_is_recorded_as_not_read(state: Path) -> None:
    async def scenario() -> None:
        audit = with_signature()
        with taddons.context(Proxyserver(), TlsConfig(), audit) as context:
            context.configure(audit, mutewatch_state=str(state))
            flow = tflow.tflow(resp=True)
            flow.request.method, flow.request.host, flow.request.path = "POST", HOST, STATE
            audit.responseheaders(flow)
            assert flow.response and callable(flow.response.stream)
            assert flow.response.stream(b'{"type":') == b'{"type":'
            await audit.error(flow)
            await audit.error(flow)
            audit.done()

    asyncio.run(scenario())
    assert recorded(state) == [(None, HOST, STATE, 200)]


def test_the_body_of_a_response_of_our_own_is_nobodys_word(state: Path) -> None:
    async def scenario() -> None:
        audit = with_signature()
        with taddons.context(Proxyserver(), TlsConfig(), audit) as context:
            context.configure(audit, mutewatch_state=str(state))
            flow = tflow.tflow()
            flow.request.method, flow.request.host, flow.request.path = "POST", HOST, STATE
            refuse(flow)
            audit.responseheaders(flow)
            assert flow.response and flow.response.stream is True
            audit.done()

    asyncio.run(scenario())
