"""One conversation over websockets and with wanted answers, five doors, the same facts, by whom they were said."""

from pathlib import Path
from typing import Any

import pytest

from mutewatch.identity import Names
from mutewatch.pipeline import Pipeline
from mutewatch.ports import ReadOptions
from mutewatch.records import Decoded, Direction, Exchange
from mutewatch.store import Store
from pcap_tools import read_inputs
from pcap_tools.exchange_log import write_exchanges
from tests.captures.capture import capture
from tests.captures.conversations import converse
from tests.captures.files import pcap
from tests.captures.links import frames
from tests.captures.openssl import Settings
from tests.captures.packets import segments
from tests.sockets.scene import sockets
from tests.sockets.talk import ANSWER, HOST, SIGNATURE, STATE, WEBSOCKET, script

Said = tuple[str, str, Direction, bytes | None]
SAID: list[Said] = [
    ("POST", STATE, Direction.TO_CLIENT, ANSWER),
    *(
        ("WEBSOCKET", "/socket", Direction.TO_SERVER if said.from_client else Direction.TO_CLIENT, said.body)
        for said in WEBSOCKET
    ),
]


def told(facts: list[Decoded]) -> list[str]:
    """What was said, by whom, with the hash of the message; sorted, less what belongs to the door."""
    return sorted(
        str(line)
        for one in facts
        for line in (
            (one.source.body_sha256, len(one.audio), len(one.mute), len(one.undecoded)),
            *(
                ("level", r.client, r.call, r.number, f"{r.ends_at:%T}", [(v.name, v.value) for v in r.values])
                for r in one.audio
            ),
            *(("mute", e.client, e.call, f"{e.at:%T}", e.muted, e.scope, e.basis) for e in one.mute),
            *(("undecoded", u.reason, u.size) for u in one.undecoded),
        )
    )


def read(path: Path, **options: Any) -> tuple[list[Exchange], list[Decoded], Pipeline]:
    """Read a file as `mutewatch scan` does, with the signature of the tests alone."""
    pipeline = Pipeline([SIGNATURE], Names(None))
    reading = ReadOptions(is_host=pipeline.is_host, wants_answer=pipeline.wants_answer, **options)
    exchanges = list(read_inputs([path], reading))
    return exchanges, [fact for one in exchanges for fact in pipeline.feed(one)], pipeline


def known(exchanges: list[Exchange]) -> list[Said]:
    """What the server answered, and the websocket's messages, with their direction."""
    return [
        (e.method, e.path, e.direction, e.body)
        for e in exchanges
        if e.method == "WEBSOCKET" or e.direction is Direction.TO_CLIENT
    ]


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Exchange], list[Decoded], Pipeline]:
    talk = converse(Settings(), script, flows=1, host=HOST)
    (path,), keylog = capture(talk, pcap(frames(segments(talk)))).write(tmp_path_factory.mktemp("capture"))
    return read(path, keylogs=(keylog,) if keylog else ())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, confdir: Path) -> Path:
    """What a mitmdump without our addon writes of the conversation: talk.mitm and talk.har."""
    folder = tmp_path_factory.mktemp("saved")
    arguments = ["-w", str(folder / "talk.mitm"), f"--set=hardump={folder / 'talk.har'}"]
    with sockets(folder, confdir, bare=arguments) as bare:
        bare.play(WEBSOCKET)
        bare.wait_heard([said.body for said in WEBSOCKET if said.from_client])
        bare.proxy.stop()
    return folder


def test_the_capture_tells_who_said_what(captured: tuple[list[Exchange], list[Decoded], Pipeline]) -> None:
    exchanges, facts, pipeline = captured
    found = known(exchanges)
    assert sorted(found, key=str) == sorted(SAID, key=str)
    for direction in Direction:
        assert [one for one in found if one[2] is direction] == [one for one in SAID if one[2] is direction]
    assert [(e.scope, e.basis) for one in facts for e in one.mute if e.muted] == [
        ("local", "client-reported"),
        ("remote", "server"),
        ("local", "client-reported"),
        ("local", "client-reported"),
    ]
    assert (len(facts), pipeline.counts.undecoded, pipeline.counts.unread) == (len(SAID), 1, 0)


def test_two_equal_messages_of_one_packet_are_two_facts_of_a_store(
    captured: tuple[list[Exchange], list[Decoded], Pipeline], tmp_path: Path
) -> None:
    _, facts, _ = captured
    with Store(tmp_path / "store.db") as store:
        store.record(facts, [])
        store.record(facts, [])  # and read again, they are the same
        assert told(list(store.facts_since(facts[0].source.seen_at or pytest.fail(), 100))) == told(facts)


@pytest.mark.live
@pytest.mark.parametrize("name", ["talk.mitm", "talk.har"])
def test_flow_dump_and_har_give_the_same_facts(
    captured: tuple[list[Exchange], list[Decoded], Pipeline], saved: Path, name: str
) -> None:
    exchanges, facts, pipeline = read(saved / name)
    wanted = [(*one[:3], None) for one in SAID]
    assert [(*one[:3], None) for one in known(exchanges)] == wanted
    assert told(facts) == told(captured[1])
    assert pipeline.counts == captured[2].counts
    sockets_messages = [one for one in exchanges if one.method == "WEBSOCKET"]
    assert len({one.connection for one in sockets_messages}) == 1 and sockets_messages[0].connection is not None


@pytest.mark.live
def test_the_live_proxy_gives_the_same_facts(
    captured: tuple[list[Exchange], list[Decoded], Pipeline], tmp_path: Path, confdir: Path
) -> None:
    with sockets(tmp_path, confdir) as live:
        heard = live.play(WEBSOCKET)
        assert heard == [said.body for said in WEBSOCKET if not said.from_client]
        live.wait_heard([said.body for said in WEBSOCKET if said.from_client])
        assert live.proxy.stop() == 0
        status = live.proxy.status()
    assert told(live.facts()) == told(captured[1])
    assert (status["messages"], status["unrecorded"], status["websocket_messages"]) == (3 + 6, 0, 0)
    assert (status["answers_recorded"], status["hook_errors"]) == (1 + 3, 0)  # the body, and the server's messages


def test_and_so_do_json_lines_of_what_was_captured(
    captured: tuple[list[Exchange], list[Decoded], Pipeline], tmp_path: Path
) -> None:
    path = tmp_path / "talk.jsonl"
    write_exchanges(path, captured[0])
    exchanges, facts, pipeline = read(path)
    assert (known(exchanges), told(facts), pipeline.counts) == (
        known(captured[0]),
        told(captured[1]),
        captured[2].counts,
    )
    assert [(e.client, e.client_port) for e in exchanges] == [(e.client, e.client_port) for e in captured[0]]
