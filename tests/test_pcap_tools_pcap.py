"""The capture engine as a whole: what it reads from every kind of capture, and its account of what it did not."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mutewatch.errors import InputError, OperatorError
from mutewatch.flow_records import Flow, FlowOutcome, Unidentified
from mutewatch.ports import ReadOptions
from mutewatch.records import Direction, Exchange
from pcap_tools.capture import sift
from pcap_tools.limits import DEFAULT_READ_LIMITS, ReadLimits
from pcap_tools.pcap import CaptureReader
from tests.captures.capture import Capture, capture
from tests.captures.conversations import HOST, MILLISECOND, converse, tls13
from tests.captures.damage import from_middle, split
from tests.captures.files import Pcapng, pcap, pcapng
from tests.captures.links import LINKS, Frame, dns_answers, frames, udp
from tests.captures.openssl import Settings
from tests.captures.packets import FIN, SYN, Segment, Tcp, segments
from tests.captures.variants import VARIANTS

SENT_TWICE = {"tls13_early": 1}  # a request in rejected early data is sent again


@dataclass
class Reading:
    """What came out of a capture."""

    exchanges: list[Exchange]
    flows: list[Flow]
    unidentified: Counter[Unidentified]
    error: str = ""

    @property
    def sent(self) -> Counter[bytes]:
        """The bodies that clients sent, as often as they were read."""
        return Counter(e.body for e in self.exchanges if e.method and e.body and e.direction is Direction.TO_SERVER)

    @property
    def outcomes(self) -> list[FlowOutcome]:
        return [flow.outcome for flow in self.flows]


def read(
    made: Capture,
    folder: Path,
    *,
    keylog: Path | None = None,
    is_host: Callable[[str], bool] = HOST.__eq__,
    limits: ReadLimits = DEFAULT_READ_LIMITS,
) -> Reading:
    paths, own_keylog = made.write(folder)
    keys = keylog or own_keylog
    flows: list[Flow] = []
    reading = Reading([], flows, Counter())
    options = ReadOptions(
        (keys,) if keys else (), is_host, on_flow=flows.append, on_unidentified=reading.unidentified.update
    )
    try:
        for exchange in CaptureReader(limits).read_rotated(paths, options):
            reading.exchanges.append(exchange)
    except InputError as error:
        reading.error = str(error)
    return reading


@pytest.mark.parametrize("name", VARIANTS)
def test_it_reads_all_that_the_packets_hold(name: str, tmp_path: Path) -> None:
    made = VARIANTS[name]()
    sent = read(made, tmp_path).sent
    truth = Counter(made.bodies)
    assert (sent & truth).total() >= made.least
    assert (sent - truth).total() == SENT_TWICE.get(name, 0), "a body that nobody sent"


@pytest.mark.parametrize("name", ["tls13", "http2", "one_lost", "tls12_resumed_ticket", "plain_odd_port"])
def test_each_exchange_has_the_time_and_frame_of_the_packet_that_completed_it(name: str, tmp_path: Path) -> None:
    found = read(VARIANTS[name](), tmp_path).exchanges
    assert len(found) > 50
    assert [e.origin.ordinal for e in found] == list(range(1, len(found) + 1))
    assert {e.client for e in found} == {"192.0.2.7"}
    frames_of = [e.origin.frame for e in found]
    assert None not in frames_of
    by_connection: dict[str | None, list[Exchange]] = {}
    for exchange in found:
        by_connection.setdefault(exchange.connection, []).append(exchange)
    for one in by_connection.values():
        times = [e.sent_at for e in one]
        assert None not in times
        assert times == sorted(times)  # type: ignore[type-var]


DARK = {
    "keylog_empty": FlowOutcome.NO_KEY,
    "client_only_tls12": FlowOutcome.NO_HANDSHAKE,
}


@pytest.mark.parametrize(("name", "outcome"), DARK.items())
def test_a_flow_that_stays_dark_says_why(name: str, outcome: FlowOutcome, tmp_path: Path) -> None:
    assert set(read(VARIANTS[name](), tmp_path).outcomes) == {outcome}


def without_keys() -> Capture:
    return capture(tls13(), pcap(frames(segments(tls13()))), keylog=b"", least=0)


def test_a_dark_flow_gives_an_exchange_without_method_and_the_rhythm_of_its_client(tmp_path: Path) -> None:
    reading = read(without_keys(), tmp_path)
    assert [(e.method, e.host) for e in reading.exchanges] == [("", HOST)] * 2
    assert reading.outcomes == [FlowOutcome.NO_KEY] * 2
    for flow in reading.flows:
        assert len(flow.bursts) >= 30
        assert flow.client_bytes == sum(burst.size for burst in flow.bursts)


def test_a_key_log_of_another_session_is_told_from_one_that_is_none(tmp_path: Path) -> None:
    other = tmp_path / "other.keys"
    other.write_bytes(converse(Settings(), count=1, flows=1).keylog)
    reading = read(without_keys(), tmp_path, keylog=other)
    assert reading.error == ""
    assert "secrets of 1 other connection" in reading.flows[0].detail
    none = tmp_path / "none.keys"
    none.write_text("this is a letter\n")
    assert "no TLS secrets in it; a key log has lines such as" in read(without_keys(), tmp_path, keylog=none).error


def test_secrets_that_do_not_open_the_flow_are_said_not_to_fit(tmp_path: Path) -> None:
    lines = []
    for line in tls13().keylog.decode().splitlines():
        label, random, secret = line.split()
        lines.append(f"{label} {random} {secret[::-1]}\n")
    keys = tmp_path / "wrong.keys"
    keys.write_text("".join(lines))
    assert read(without_keys(), tmp_path, keylog=keys).outcomes == [FlowOutcome.BAD_KEY] * 2


def test_flows_of_others_are_left_alone(tmp_path: Path) -> None:
    reading = read(without_keys(), tmp_path, is_host=lambda _name: False)
    assert (reading.exchanges, reading.flows) == ([], [])


def test_a_flow_without_a_name_is_found_by_the_address_in_a_dns_answer_that_comes_later(tmp_path: Path) -> None:
    rows = from_middle(segments(tls13()), 20, 0)
    headless = [row for row in rows if row.flow == 0]
    later = [*frames(headless), *dns_answers(segments(tls13()))]
    made = capture(tls13(), pcap(later), least=28)
    reading = read(made, tmp_path)
    assert reading.sent.total() >= made.least
    assert [flow.basis for flow in reading.flows] == ["address"]


def test_an_address_that_the_operator_names_is_looked_into(tmp_path: Path) -> None:
    talk = converse(Settings(), count=3, flows=1, host="")
    [path], keylog = capture(talk, pcap(frames(segments(talk))), keylog=talk.keylog).write(tmp_path)
    assert keylog
    keylog.write_bytes(b"CLIENT_RANDOM " + b"00" * 32 + b" " + b"00" * 48)
    found = flows_of(path, ReadOptions((keylog,), addresses=("198.51.100.1",)))
    assert [(flow.basis, flow.outcome) for flow in found] == [("address", FlowOutcome.NO_KEY)]


def flows_of(path: Path, options: ReadOptions) -> list[Flow]:
    found: list[Flow] = []
    for _ in CaptureReader().read(
        path, ReadOptions(options.keylogs, options.is_host, options.addresses, on_flow=found.append)
    ):
        pass
    return found


def test_a_quic_flow_is_followed_by_times_and_sizes(tmp_path: Path) -> None:
    rows = segments(tls13())
    start, client, server = rows[-1].time, ("192.0.2.7", 51_000), (rows[0].target[0], 443)
    sent = [b"\xc0" + bytes(1_199), *[b"\x40" + bytes(number) for number in (300, 301, 302)]]
    quic = [
        Frame(start + minute * 60_000 * MILLISECOND, LINKS["ethernet"].wrap(udp(client, server, data), False))
        for minute, data in enumerate(sent)
    ]
    made = capture(tls13(), pcap([*dns_answers(rows), *quic]), keylog=b"", least=0)
    reading = read(made, tmp_path)
    assert [(flow.host, flow.outcome) for flow in reading.flows] == [(HOST, FlowOutcome.QUIC)]
    assert [burst.size for burst in reading.flows[0].bursts] == [1_200, 301, 302, 303]
    assert [(e.method, e.host) for e in reading.exchanges] == [("", HOST)]


@pytest.mark.parametrize("posts", [30, 300])
def test_a_key_that_comes_after_its_connection_was_closed_is_used(posts: int, tmp_path: Path) -> None:
    talk = converse(Settings(), count=posts, flows=2)
    made = capture(
        talk,
        Pcapng().section().interface("ethernet").packets(frames(segments(talk))).secrets(talk.keylog).done(),
        keylog=b"",
    )
    assert read(made, tmp_path).sent == Counter(made.bodies)


def test_flows_of_the_same_hash_that_begin_in_different_chunks_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sift, "_BITS", 2)
    monkeypatch.setattr(sift, "_SHIFT", 30)
    talk = converse(Settings(), count=8, flows=20)
    made = capture(talk, pcap(frames(segments(talk))))
    assert read(made, tmp_path, limits=ReadLimits(chunk=16 << 10)).sent == Counter(made.bodies)


def test_an_address_that_is_none_is_said(tmp_path: Path) -> None:
    [path], _ = without_keys().write(tmp_path)
    with pytest.raises(OperatorError, match="example: not an IP address, such as"):
        flows_of(path, ReadOptions(addresses=("example",)))


@pytest.mark.parametrize("name", ["dsb_first", "dsb_middle", "dsb_last", "dsb_parts"])
def test_secrets_anywhere_in_the_file_are_used(name: str, tmp_path: Path) -> None:
    made = VARIANTS[name]()
    assert read(made, tmp_path).sent == Counter(made.bodies)


def test_a_damaged_file_gives_what_came_before_and_then_says_where(tmp_path: Path) -> None:
    whole = pcapng(frames(segments(tls13())), keylog=tls13().keylog)
    path = tmp_path / "cut.pcapng"
    path.write_bytes(whole[: len(whole) // 2])
    found: list[Exchange] = []
    with pytest.raises(InputError, match=r"byte [\d,]+: incomplete: the file ends in the middle of a block"):
        for exchange in CaptureReader().read(path, ReadOptions(is_host=HOST.__eq__)):
            found.append(exchange)
    assert len([e for e in found if e.body]) >= 25


def headless() -> Capture:
    """All flows began before the capture, and nothing names their hosts."""
    rows = segments(tls13())
    for flow in (0, 1):
        rows = from_middle(rows, 20, flow)
    return capture(tls13(), pcap(frames(rows)), least=56)


def test_keys_that_fit_nothing_else_are_tried_on_flows_without_a_beginning(tmp_path: Path) -> None:
    reading = read(headless(), tmp_path)
    assert reading.sent.total() >= 56
    assert [(flow.basis, flow.outcome, flow.host) for flow in reading.flows] == [
        ("a key fits", FlowOutcome.PARTLY, HOST)
    ] * 2
    assert reading.unidentified == {}


def test_flows_without_a_beginning_are_counted_if_nobody_can_say_whose_they_are(tmp_path: Path) -> None:
    reading = read(replace(headless(), keylog=b""), tmp_path)
    assert (reading.exchanges, reading.flows) == ([], [])
    assert reading.unidentified == {Unidentified.HEADLESS: 2}


def test_a_hello_that_is_cut_before_its_server_name_is_counted(tmp_path: Path) -> None:
    reading = read(VARIANTS["snaplen_96"](), tmp_path)
    assert reading.unidentified == {Unidentified.HELLO_CUT: 2}


def late_syn(rows: list[Segment], *, again: bool) -> list[Segment]:
    """Show the SYN of the first flow behind its ClientHello, or there once more."""
    syn = next(at for at, row in enumerate(rows) if row.flow == 0 and row.flags & SYN)
    hello = next(at for at, row in enumerate(rows) if row.flow == 0 and row.data)
    moved = [*rows[: hello + 1], rows[syn], *rows[hello + 1 :]]
    return moved if again else [row for at, row in enumerate(moved) if at != syn]


@pytest.mark.parametrize("again", [True, False])
def test_a_syn_that_shows_behind_the_first_data_begins_nothing_new(again: bool, tmp_path: Path) -> None:
    made = capture(tls13(), pcap(frames(late_syn(segments(tls13()), again=again))))
    assert read(made, tmp_path).sent == Counter(made.bodies)


def test_a_hello_whose_second_half_is_lost_is_known_by_its_first(tmp_path: Path) -> None:
    rows = split(segments(tls13()), lambda row: [len(row.data) // 2] if row.data[:1] == b"\x16" else [])
    lost = {
        [at for at, row in enumerate(rows) if row.flow == flow and row.from_client and row.data][1] for flow in (0, 1)
    }
    made = capture(tls13(), pcap(frames([row for at, row in enumerate(rows) if at not in lost])))
    reading = read(made, tmp_path)
    assert reading.sent == Counter(made.bodies)
    assert {flow.basis for flow in reading.flows} == {"server name"}
    assert reading.unidentified == {}


@pytest.mark.parametrize("posts", [3, 30])
def test_a_key_in_a_later_chunk_than_its_flow_is_used(posts: int, tmp_path: Path) -> None:
    talk = converse(Settings(), count=posts, flows=2)
    file = Pcapng().section().interface("ethernet").packets(frames(segments(talk))).secrets(talk.keylog).done()
    made = capture(talk, file, keylog=b"")
    assert read(made, tmp_path, limits=ReadLimits(chunk=8 << 10)).sent == Counter(made.bodies)


@pytest.mark.parametrize("chunk", [4 << 10, 30_000, 2 << 20])
@pytest.mark.parametrize(
    ("first", "opened"),
    [
        ((1_000, 500_000), True),  # the numbers of the one before; without a SYN nobody could tell
        ((77_777, 99_999), True),
        ((77_777, 99_999), False),
        ((4_000_000_000, 3_000_000_000), False),
    ],
)
def test_ports_that_somebody_else_had_before_are_told_apart(
    chunk: int, first: tuple[int, int], opened: bool, tmp_path: Path
) -> None:
    """The earlier connection is not ours, and did not end."""
    theirs = converse(Settings(), count=20, flows=1, host="www.example.com")
    ours = converse(Settings(), count=10, flows=1)
    before = [row for row in segments(theirs) if not row.flags & FIN]
    shift = before[-1].time - segments(ours)[0].time + MILLISECOND
    after = [replace(row, time=row.time + shift) for row in segments(ours, Tcp(first=first))]
    rows = before + [row for row in after if opened or not row.flags & SYN]
    made = capture(ours, pcap(frames(rows)))
    reading = read(made, tmp_path, limits=ReadLimits(chunk=chunk))
    assert reading.sent == Counter(made.bodies)
    assert [(flow.outcome, flow.detail) for flow in reading.flows] == [(FlowOutcome.DECRYPTED, "")]


def test_of_too_many_flows_at_once_the_most_silent_is_let_go_and_that_is_said(tmp_path: Path) -> None:
    talk = converse(Settings(), count=5, flows=4)
    made = capture(talk, pcap(frames(segments(talk))))
    flows = read(made, tmp_path, limits=ReadLimits(open_flows=2)).flows
    assert any("let go: too many flows at once" in flow.detail for flow in flows)


def test_packets_of_a_link_type_that_nobody_knows_are_counted(tmp_path: Path) -> None:
    whole = bytearray(pcap(frames(segments(tls13()))))
    whole[20:24] = (147).to_bytes(4, "little")  # LINKTYPE_USER0
    path = tmp_path / "a.pcap"
    path.write_bytes(whole)
    skipped: Counter[str] = Counter()
    assert not list(CaptureReader().read(path, ReadOptions(on_skipped=skipped.update)))
    assert skipped["link type 147"] == len(segments(tls13()))


def test_of_a_rotated_capture_with_a_file_missing_the_others_are_read(tmp_path: Path) -> None:
    made = VARIANTS["pcap_rotated"]()
    paths, keylog = made.write(tmp_path)
    paths[1].unlink()
    assert keylog
    flows: list[Flow] = []
    found: list[Exchange] = []
    with pytest.raises(InputError, match="not found"):
        for exchange in CaptureReader().read_rotated(paths, ReadOptions((keylog,), HOST.__eq__, on_flow=flows.append)):
            found.append(exchange)
    assert len(flows) == 2
    assert len(found) > 20


def test_all_recoveries_together_have_a_budget(tmp_path: Path) -> None:
    keys = tmp_path / "others.keys"
    keys.write_bytes(converse(Settings(), count=1, flows=20).keylog)
    reading = read(headless(), tmp_path, keylog=keys, limits=ReadLimits(trials=1_000))
    assert reading.unidentified == {Unidentified.HEADLESS: 2}


def test_a_connection_in_which_nothing_was_sent_is_not_dark(tmp_path: Path) -> None:
    rows = segments(tls13())
    first = next(at for at, row in enumerate(rows) if row.from_client and len(row.data) > 1_000)
    made = capture(tls13(), pcap(frames([row for row in rows[:first] if row.flow == 0])), least=0)
    reading = read(made, tmp_path)
    assert [flow.outcome for flow in reading.flows] == [FlowOutcome.EMPTY]
    assert reading.exchanges == []
