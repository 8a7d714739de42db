"""Websocket messages and bodies of answers through a real mitmdump: redacted, dropped, recorded, or only counted."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mutewatch.mitigate import Action, Policies, Policy, When
from mutewatch.records import Direction, Sent
from tests.client_websocket import WebSocket
from tests.live_recorder import recorded
from tests.live_support import sha256, wait_until
from tests.sockets import talk
from tests.sockets.scene import Sockets, sockets
from tests.sockets.talk import ANSWERS, OTHER, STATE, Said, level, mute

pytestmark = pytest.mark.live

LEVEL, MUTE = Said(True, level(1, 0.25)), Said(True, mute(True, 5))
BINARY = Said(True, level(2, 0.5).encode())
NOT_JSON = Said(True, b"\x0a\x04\x08\x01\x18\x97")  # what protobuf may look like
FROM_SERVER = Said(False, level(3, 0.75))  # no signature knows levels that a server sends


@contextmanager
def with_policy(folder: Path, confdir: Path, policy: Policy, heard: list[Said]) -> Iterator[Sockets]:
    """A proxy with this policy, and a server that waits for `heard`."""
    live = {"activity": False, "policies": Policies(policy), "record_timeout": 20.0}
    with sockets(folder, confdir, heard, live=live) as it:
        yield it


def test_levels_are_zeroed_on_their_way_and_what_cannot_be_redacted_is_dropped(tmp_path: Path, confdir: Path) -> None:
    policy = Policy(Action.REDACT, When.ALWAYS)
    arriving = [LEVEL, BINARY, MUTE, FROM_SERVER]
    with with_policy(tmp_path, confdir, policy, arriving) as it:
        assert it.play([LEVEL, NOT_JSON, BINARY, Said(True, '{"type":'), MUTE, FROM_SERVER]) == [FROM_SERVER.body]
        blank = [
            json.dumps({**json.loads(said.body), "intervals": [{"micLevel": 0.0}]}).encode() for said in (LEVEL, BINARY)
        ]
        it.wait_heard([*blank, MUTE.body])
        it.proxy.wait_status(redacted=2, unredacted=2, unrecorded=0, hook_errors=0)
        assert it.proxy.stop() == 0
    sent = [one.source.sent for one in it.facts() if one.source.signature.id == "test.sockets"]
    assert sent[1:] == [Sent.REDACTED, Sent.REFUSED, Sent.REDACTED, Sent.REFUSED, Sent.FORWARDED, Sent.FORWARDED]


def test_levels_that_are_blocked_do_not_arrive_and_the_mute_button_still_works(tmp_path: Path, confdir: Path) -> None:
    with with_policy(tmp_path, confdir, Policy(Action.BLOCK), [MUTE]) as it:
        it.play([LEVEL, MUTE])
        it.wait_heard([MUTE.body])
        it.proxy.wait_status(blocked=1)


def test_a_level_of_a_client_that_is_known_to_be_unmuted_passes(tmp_path: Path, confdir: Path) -> None:
    unmuted = Said(True, json.dumps({**json.loads(mute(False, 0)), "at": "2026-03-02T08:59:00Z"}))
    with with_policy(tmp_path, confdir, Policy(Action.REDACT), [unmuted, LEVEL]) as it:
        it.play([unmuted, LEVEL])
        it.wait_heard([unmuted.body, LEVEL.body])
        it.proxy.wait_status(redacted=0, recorded=5)


def test_what_is_not_recorded_in_time_is_dropped_if_so_asked(tmp_path: Path, confdir: Path) -> None:
    live = {"strict": True, "record_timeout": 0.2}
    environment = {"MUTEWATCH_TEST_RECORDER": "sqlite"}
    with sockets(tmp_path, confdir, [LEVEL, MUTE], live=live, environment=environment) as it:
        secure = it.proxy.connect(talk.HOST)
        secure.connect()
        with WebSocket.connect(secure.sock, talk.HOST, talk.PATH) as end:
            end.send(LEVEL.payload)
            it.wait_heard([LEVEL.body])
            (it.proxy.state / "block").touch()
            end.send(BINARY.payload)
            wait_until(lambda: "a websocket message was dropped" in it.proxy.text(), "a message is dropped")
            (it.proxy.state / "block").unlink()
            end.send(MUTE.payload)
            it.wait_heard([LEVEL.body, MUTE.body])
        it.proxy.wait_status(refused=1, unrecorded=0)
    assert sha256(BINARY.body) in {row[0] for row in recorded(it.proxy.state)}  # late, but it was


def test_what_no_signature_knows_passes_and_is_counted(tmp_path: Path, confdir: Path) -> None:
    with sockets(tmp_path, confdir, [LEVEL, Said(False, "x")], environment={"MUTEWATCH_TEST_RECORDER": "sqlite"}) as it:
        secure = it.proxy.connect(talk.HOST)
        secure.connect()
        with WebSocket.connect(secure.sock, talk.HOST, "/socket/elsewhere") as end:
            end.send(LEVEL.payload)
            assert end.receive() == "x"
        it.proxy.wait_status(websocket_messages=2, messages=1, answers=1)  # and the request, with its status
    assert sha256(LEVEL.body) not in {row[0] for row in recorded(it.proxy.state)}


def test_a_message_over_the_limit_passes_unread_and_is_recorded_as_such(tmp_path: Path, confdir: Path) -> None:
    long = Said(True, level(1, 0.25) + " " * 5_000)
    environment = {"MUTEWATCH_TEST_RECORDER": "sqlite"}
    with sockets(tmp_path, confdir, [long, MUTE], live={"max_body": 4_096}, environment=environment) as it:
        it.play([long, MUTE])
        it.wait_heard([long.body, MUTE.body])
        it.proxy.wait_status(too_large=1, recorded=5)
    assert [row[:3] for row in recorded(it.proxy.state) if row[0] is None] == [(None, talk.HOST, talk.PATH)]


def test_the_body_of_a_wanted_answer_is_recorded_and_of_others_the_status_alone(tmp_path: Path, confdir: Path) -> None:
    with sockets(tmp_path, confdir, [], environment={"MUTEWATCH_TEST_RECORDER": "sqlite"}) as it:
        it.play([])
        it.proxy.wait_status(answers_recorded=4)  # two with a body each, and that of the websocket's request
    rows = recorded(it.proxy.state)
    assert (sha256(ANSWERS[STATE]), talk.HOST, STATE, 200) in rows
    assert sha256(ANSWERS[OTHER]) not in {row[0] for row in rows}


def test_a_wanted_answer_over_the_limit_passes_and_is_recorded_as_not_read(tmp_path: Path, confdir: Path) -> None:
    environment = {"MUTEWATCH_TEST_RECORDER": "sqlite"}
    with sockets(tmp_path, confdir, [], live={"max_body": 1_024}, environment=environment) as it:
        it.play([])
        it.proxy.wait_status(answers_recorded=4)
    assert (None, talk.HOST, STATE, 200) in recorded(it.proxy.state)


def test_the_signature_of_these_tests_knows_both_directions() -> None:
    for direction in Direction:
        assert talk.SIGNATURE.match("WEBSOCKET", talk.HOST, talk.PATH, direction)
