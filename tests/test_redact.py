"""Redaction: nothing that tells leaves, everything else stays, and what cannot be checked is refused."""

import base64
import gzip
import json
import re
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mutewatch.errors import OperatorError
from mutewatch.extract import extract, stats_states
from mutewatch.identity import Names
from mutewatch.json_text import apply, locate, removals
from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.records import AudioReport, Decoded
from mutewatch.redact import Blank, Redacted, RedactionError, redact, redact_query
from mutewatch.signatures import FOLDER, Signature, load_signature, load_signatures
from mutewatch.signatures.fixtures import fixture_exchanges
from mutewatch.signatures.model import Fixture, Message
from tests.webex_bodies import real_bodies

SIGNATURES = {signature.id: signature for signature in load_signatures()}
TSA, CLIENTMETRICS = SIGNATURES["webex.tsa.v1"], SIGNATURES["webex.clientmetrics"]
LOCUS = SIGNATURES["webex.locus"]
FIXTURES = [(signature, fixture) for signature in load_signatures() for fixture in signature.fixtures]
GAINS = {"audioMaxGain", "audioMeanGain", "audioMinGain"}
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "X-GZIP": gzip.compress,
    "deflate": zlib.compress,
    "deflate, gzip": lambda body: gzip.compress(zlib.compress(body)),
}
REMOVERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "X-GZIP": gzip.decompress,
    "deflate": zlib.decompress,
    "deflate, gzip": lambda body: zlib.decompress(gzip.decompress(body)),
}


def blanked(
    body: bytes | str,
    signature: Signature = TSA,
    encoding: str | None = None,
    blank: Blank = Blank.ZERO,
    identifiers: bool = False,
    message: Message | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Redacted:
    body = body.encode() if isinstance(body, str) else body
    message = message or signature.messages[0]
    return redact(body, encoding, signature, message, blank=blank, identifiers=identifiers, limits=limits)


def refusal(body: bytes | str, **options: Any) -> str:
    with pytest.raises(RedactionError) as caught:
        blanked(body, **options)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # nothing that holds the body travels with it
    return str(caught.value)


def pack(inner: str | bytes) -> str:
    return base64.b64encode(gzip.compress(inner.encode() if isinstance(inner, str) else inner, mtime=0)).decode()


def event(levels: str, more: str = "") -> str:
    """The text of a media-quality event with these `levels`."""
    return (
        '{"event":{"name":"client.mediaquality.event","identifiers":{"correlationId":"C1","webexUserId":7},'
        f'"intervals":[{{"intervalNumber":5,"audioTransmit":[{{"levels":{levels},"streams":[]}}]{more}}}]}},'
        '"originTime":{"sent":"2021-03-01T10:05:00.000Z"}}'
    )


def message(*inner: str) -> str:
    """The body of a message that carries these texts, one an element."""
    elements = ",".join(f'{{"cid":"C1","v":{{"gzipb64data":"{pack(text)}"}}}}' for text in inner)
    return f'{{"telemetrics":[{elements}]}}'


def inner_texts(body: bytes) -> list[str]:
    elements = json.loads(body)["telemetrics"]
    return [gzip.decompress(base64.b64decode(element["v"]["gzipb64data"])).decode() for element in elements]


def plain(body: bytes) -> Any:
    """All of a message as plain values, opened by other means than the code under test."""
    document = json.loads(body)
    for element in document.get("telemetrics", ()):
        if "gzipb64data" in element["v"]:
            element["v"]["gzipb64data"] = json.loads(
                gzip.decompress(base64.b64decode(element["v"]["gzipb64data"])), parse_float=str, parse_int=str
            )
    return document


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that is no object or array, with the keys and positions that lead to it."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*path, str(key)))
    else:
        yield path, value


def facts(body: bytes, signature: Signature, message: Message, encoding: str | None = None) -> Decoded:
    exchange = next(fixture_exchanges(signature, signature.fixtures[0]))
    exchange = replace(exchange, body=body, content_encoding=encoding)
    return extract(exchange, signature, message, {}, Names(key=None))


def readings(reports: tuple[AudioReport, ...]) -> list[float]:
    return [value.value for report in reports for value in report.values]


# What is blanked


SERIES = "Extensions_WebRTCStats_ssrc_audio_send_audioInputLevel"


def test_a_series_in_one_text_is_zeroed_number_by_number() -> None:
    teams = SIGNATURES["teams.onecollector"]
    line = '{"name":"mdsc_webrtc_session","time":"2025-11-07T19:35:10.368Z","data":{"a":"1,2","%s":"%s"}}'
    zeroed = blanked(line % (SERIES, "0,0.00006103701895199438,-1.5e-7,0"), teams)
    assert zeroed.body.decode() == line % (SERIES, "0,0,0,0") and zeroed.values == 1
    removed = blanked(line % (SERIES, "0,0.1"), teams, blank=Blank.REMOVE)
    assert json.loads(removed.body)["data"] == {"a": "1,2"} and removed.values == 1
    for said in ("loud", "0,,1", "0;1", "0,1,"):
        assert refusal(line % (SERIES, said), signature=teams) == "an audio-derived value that is not a number"


@pytest.mark.parametrize(
    ("blank", "levels", "left"),
    [
        (Blank.ZERO, '{"audioMaxGain":46,"audioMinGain":27}', '{"audioMaxGain":0,"audioMinGain":0}'),
        (Blank.ZERO, '{ "audioMaxGain" : 46.5 , "x" : 1e3 }', '{ "audioMaxGain" : 0.0 , "x" : 1e3 }'),
        (Blank.ZERO, '{"audioMaxGain":-4,"audioMinGain":1e2}', '{"audioMaxGain":0,"audioMinGain":0.0}'),
        (Blank.ZERO, '{"audioM\\u0061xGain":46}', '{"audioM\\u0061xGain":0}'),
        (Blank.REMOVE, '{"audioMaxGain":46,"audioMinGain":27}', "{}"),
        (Blank.REMOVE, '{ "audioMaxGain" : 46 , "x" : 1 }', '{ "x" : 1 }'),
        (Blank.REMOVE, '{ "x" : 1 , "audioMaxGain" : 46 }', '{ "x" : 1 }'),
        (Blank.REMOVE, '{"audioMaxGain":4,"x":1,"audioMinGain":2,"y":{}}', '{"x":1,"y":{}}'),
        (Blank.REMOVE, '{"audioMaxGain":4,"audioMinGain":2,"y":[]}', '{"y":[]}'),
        (Blank.REMOVE, '{"y":12345678901234567890.10,"audioMaxGain":0}', '{"y":12345678901234567890.10}'),
    ],
)
def test_only_the_values_change(blank: Blank, levels: str, left: str) -> None:
    redacted = blanked(message(event(levels)), blank=blank)
    assert inner_texts(redacted.body) == [event(left)]
    assert redacted.values == len(re.findall("Gain", levels.replace("\\u0061", "a")))


def test_every_element_interval_and_event_is_blanked() -> None:
    other = '{"event":{"name":"something.else","audioMaxGain":4}}'
    more = ',"audioReceive":[{"levels":{"audioMeanGain":5}}]'
    body = message(event('{"audioMaxGain":6}', more), other, other.replace("4", "[{}]").replace("[{}]", "8"))
    redacted = blanked(body)
    assert redacted.values == 4
    assert re.findall(r'Gain":(\d+)', "".join(inner_texts(redacted.body))) == ["0"] * 4


def test_json_in_a_string_is_blanked_and_written_as_it_was() -> None:
    text = json.dumps({"a": "é", "deep": json.dumps({"audioMaxGain": 46, "b": "ü"}), "c": 1})
    redacted = blanked(message(event('{"audioMaxGain":1}', f',"note":{json.dumps(text)}')))
    note = json.loads(inner_texts(redacted.body)[0])["event"]["intervals"][0]["note"]
    assert note == text.replace("46", "0")
    assert redacted.values == 2


def test_an_inline_event_is_blanked() -> None:
    body = '{"telemetrics":[{"v":' + event('{"audioMaxGain":46}') + "}]}"
    assert blanked(body).body.decode() == body.replace("46", "0")


def test_what_was_zero_is_the_same_bytes() -> None:
    body = message(event('{"audioMaxGain":0,"audioMinGain":0.0}'))
    assert blanked(body) == Redacted(body.encode(), 0, 0)


def test_values_declared_beside_the_audio_fields_are_blanked() -> None:
    redaction = TSA.redact.model_copy(update={"values": ("levels.audioMaxVolume", "meter.*")})
    signature = TSA.model_copy(update={"redact": redaction})
    text = event('{"audioMaxVolume":3,"meter":{"a":1,"b":2}}', ',"audioMaxVolume":4')
    redacted = blanked(message(text), signature)
    assert inner_texts(redacted.body) == [event('{"audioMaxVolume":0,"meter":{"a":0,"b":0}}', ',"audioMaxVolume":4')]


@pytest.mark.parametrize(
    ("blank", "left"),
    [
        (Blank.ZERO, ('""', '{"correlationId":"","webexUserId":0}', '{"name":"microphone","information":""}', 4)),
        (Blank.REMOVE, (None, "{}", '{"name":"microphone"}', 4)),
    ],
)
def test_identifiers_go_if_asked(blank: Blank, left: tuple[str | None, str, str, int]) -> None:
    device = '{"name":"microphone","information":"USB (Ann\'s)"}'
    body = message(event("{}", f',"intervalMetadata":{{"peripherals":[{device}]}}'))
    redacted = blanked(body, blank=blank, identifiers=True)
    cid, names, peripheral, count = left
    (text,) = inner_texts(redacted.body)
    assert f'"identifiers":{names}' in text
    assert f'"peripherals":[{peripheral}]' in text
    element = json.loads(redacted.body)["telemetrics"][0]
    assert element.get("cid") == (None if cid is None else json.loads(cid))
    assert redacted.identifiers == count
    assert blanked(body, blank=blank) == Redacted(body.encode(), 0, 0)  # and not if not


def test_an_identifier_of_many_parts_is_blanked_in_each() -> None:
    body = '{"metrics":[{"eventPayload":{"origin":{"a":{"ip":["10.0.0.1",true,null,5,""]}},"event":{}}}]}'
    redacted = blanked(body, CLIENTMETRICS, identifiers=True)
    assert redacted.body.decode() == body.replace("10.0.0.1", "").replace("5", "0")
    assert redacted.identifiers == 2


@pytest.mark.parametrize(
    ("query", "blank", "left"),
    [
        ("appid=A&sitename=ann.webex.com", Blank.ZERO, ("appid=A&sitename=", 1)),
        ("site%6eame=ann&appid=A&", Blank.REMOVE, ("appid=A&", 1)),
        ("sitename=&sitename", Blank.ZERO, ("sitename=&sitename", 0)),
        ("", Blank.ZERO, ("", 0)),
    ],
)
def test_the_query_of_the_url_tells_nothing(query: str, blank: Blank, left: tuple[str, int]) -> None:
    assert redact_query(query, TSA, blank=blank) == left


# The signatures


@pytest.mark.parametrize("blank", Blank)
@pytest.mark.parametrize(("signature", "fixture"), FIXTURES, ids=lambda x: getattr(x, "id", None) or x.name)
def test_every_fixture_leaves_without_a_value_or_is_refused(
    signature: Signature, fixture: Fixture, blank: Blank
) -> None:
    known, known_after = stats_states(DEFAULT_LIMITS), stats_states(DEFAULT_LIMITS)
    is_blanked = bool(signature.telling_names or signature.redact.identifiers)
    for exchange in fixture_exchanges(signature, fixture):
        matched = signature.match(exchange.method, exchange.host, exchange.path, exchange.direction)
        assert matched is not None
        assert exchange.body is not None
        try:
            redacted = blanked(exchange.body, signature, blank=blank, identifiers=True, message=matched[0])
        except RedactionError:
            assert fixture.kind == "damaged" or "residue" in fixture.name or matched[0].protobuf
            return
        # Of a report that leaves out what has not changed, no one message can be read in full.
        assert fixture.kind != "damaged" or matched[0].stats or not is_blanked
        before = extract(exchange, signature, *matched, Names(key=None), states=known)
        blank_one = replace(exchange, body=redacted.body)
        after = extract(blank_one, signature, *matched, Names(key=None), states=known_after)
        told = [one for one in readings(before.audio) if one or blank is Blank.REMOVE]
        assert redacted.values == len(told) or matched[0].stats
        assert not any(readings(after.audio))
        assert len(after.mute) == len(before.mute)
        if is_blanked:
            assert {report.client for report in after.audio} <= {"unknown"}
            assert {report.call for report in after.audio} <= {"", "socket"}
            assert {(event.client, event.call) for event in after.mute} <= {("unknown", None), ("unknown", "socket")}


def test_every_signature_says_where_its_steps_find_their_text() -> None:
    telling = [signature for signature in load_signatures() if signature.telling_names]
    assert all(None not in message.packed for signature in telling for message in signature.messages)
    assert TSA.messages[0].packed == {"gzipb64data": ("base64", "gzip", "json")}
    assert LOCUS.messages[0].packed == {"localSdp": ("json_in_string",)}


def test_steps_on_what_no_key_leads_to_are_refused_unless_the_signature_names_the_key() -> None:
    kind = TSA.messages[0].model_dump()
    kind["payload"][0]["path"] = "element.v.*.x | [0]"
    lost = Message.model_validate(kind)
    assert "does not say under which key" in refusal(message(event("{}")), message=lost)
    kind["payload"][0]["key"] = "gzipb64data"
    assert Message.model_validate(kind).packed == TSA.messages[0].packed


def test_steps_without_a_way_back_are_refused() -> None:
    kind = TSA.messages[0].model_copy(update={"steps": ()})
    assert "no way back" in refusal(message(event("{}")), message=kind)


def test_a_signature_without_audio_blanks_nothing_and_refuses_nothing() -> None:
    assert blanked(b"no JSON", LOCUS, identifiers=True) == Redacted(b"no JSON", 0, 0)


@pytest.mark.parametrize("pattern", ["*", "*.*", "a..b", "", "a*.b"])
def test_a_pattern_that_names_no_key_is_refused(tmp_path: Path, pattern: str) -> None:
    text = (FOLDER / "webex_locus.toml").read_text(encoding="utf-8")
    path = tmp_path / "faulty.toml"
    path.write_text(text.replace("identifiers = []", f'identifiers = ["{pattern}"]'), encoding="utf-8")
    with pytest.raises(OperatorError, match=r"redact\.identifiers\.0: .* is named by its key"):
        load_signature(path)


# What is refused


GOOD = message(event('{"audioMaxGain":46}'))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "JSON: Expecting value"),
        (GOOD[:-1], "JSON: Expecting ',' delimiter"),
        (GOOD + 'audioMaxGain":46', "JSON: more text after its end"),
        (GOOD + "{}", "JSON: more text after its end"),
        ("\ufeff" + GOOD, "JSON: "),
        ("{}", "element 0 cannot be read in full"),
        ('{"telemetrics":{"v":{"gzipb64data":7}}}', "no string where a packed text belongs"),
        ('{"telemetrics":[{"v":{"gzipb64data":"H4sIAAAAAAAA"}}]}', "gzip: cut short"),
        ('{"telemetrics":[{"v":{"gzipb64data":"%"}}]}', "base64: "),
        ('{"telemetrics":[{"v":{"gzipb64data":""}}]}', "gzip: cut short"),
        (message(event('{"audioMaxGain":46}') + "x"), "JSON: more text after its end"),
        (GOOD.replace("gzipb64data", "packed"), "a packed text where the signature knows none"),
        (GOOD.replace('"C1",', '"C1","cid":"C2",'), "JSON: a key that stands twice in one object"),
        (message(event('{"audioMaxGain":0,"audioMaxGain":46}')), "JSON: a key that stands twice in one object"),
        (message(event('{"audioMaxGain":0,"audioM\\u0061xGain":4}')), "JSON: a key that stands twice in one object"),
        (message(event('{"audioMaxGain":"46"}')), "an audio-derived value that is not a number"),
        (message(event('{"audioMaxGain":null}')), "an audio-derived value that is not a number"),
        (message(event('{"audioMaxGain":[46]}')), "an audio-derived value that is not a number"),
        (message(event('{"audioMaxGain":{"value":46}}')), "an audio-derived value that is not a number"),
        (message(event('{"audioMaxGain":NaN}')), "JSON: NaN is not a JSON number"),
        (message(event('{"levels.audioMaxGain":46}')), "the name of an audio-derived value inside another name"),
        (message(event('{"name":"audioMaxGain","value":46}')), "the name of an audio-derived value inside a text"),
        (message(event('{"x":"audioMaxGain=46"}')), "the name of an audio-derived value inside a text"),
        (message(event('{"x":"{\\"audioMaxGain\\":46"}')), "the name of an audio-derived value inside a text"),
        (message(event('{"x":"{\\"audioMaxGain\\":\\"46\\"}"}')), "an audio-derived value that is not a number"),
        (message(event("[46]")), "element 0 cannot be read in full"),
        (message(*[event("{}")] * 65), "element 64 cannot be read in full"),
        (GOOD.encode("utf-16"), "JSON: not UTF-8"),
    ],
)
def test_what_cannot_be_redacted_for_certain_is_refused(body: str | bytes, reason: str) -> None:
    assert reason in refusal(body)
    assert reason in refusal(body, blank=Blank.REMOVE)


def nested(levels: int) -> str:
    text = '{"audioMaxGain":46}'
    for _ in range(levels):
        text = f'{{"gzipb64data":"{pack(text)}"}}'
    return text


@pytest.mark.parametrize(
    ("body", "limits", "reason"),
    [
        (GOOD, Limits(body=100), "a body of "),
        (GOOD, Limits(json_depth=4), "JSON: nested deeper than 4"),
        (GOOD, Limits(json_nodes=10), "JSON: more than 10 values"),
        (GOOD, Limits(redact_nodes=20), "JSON: more than 20 values, layers and all"),
        (GOOD, Limits(base64_text=100), "base64: "),
        (GOOD, Limits(inflated=100), "gzip: more than 100 bytes"),
        (message(event("{}"), event("{}")), Limits(inflated_total=300), "gzip: more than "),
        (message(nested(3)), DEFAULT_LIMITS, "more than 3 texts within texts"),
        (message('{"a":' * 60 + "1" + "}" * 60), DEFAULT_LIMITS, None),
        (message('{"a":' * 64 + "{}" + "}" * 64), DEFAULT_LIMITS, "JSON: nested deeper than 64"),
        ("[" * 100_000, DEFAULT_LIMITS, "JSON: nested too deeply"),
    ],
)
def test_every_limit_refuses(body: str, limits: Limits, reason: str | None) -> None:
    if reason is None:
        assert blanked(body, limits=limits).values == 0
    else:
        assert reason in refusal(body, limits=limits)


def test_a_bomb_is_refused_in_little_memory() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(256)) + packer.flush()
    tracemalloc.start()
    body = f'{{"telemetrics":[{{"v":{{"gzipb64data":"{base64.b64encode(bomb[:190_000]).decode()}"}}}}]}}'
    assert "gzip: " in refusal(body)
    assert "gzip: " in refusal(bomb, encoding="gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "gzip, gzip, gzip"])
def test_a_content_encoding_that_we_cannot_open_is_refused(encoding: str) -> None:
    assert "content-encoding" in refusal(GOOD, encoding=encoding)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_false_content_encoding_is_refused(encoding: str) -> None:
    refusal(GOOD, encoding=encoding)
    refusal(ENCODINGS[encoding](GOOD.encode())[:-5], encoding=encoding)
    refusal(ENCODINGS[encoding](GOOD.encode()) + b"audioMaxGain", encoding=encoding)


@pytest.mark.parametrize("secret", ["SeCrEt", "Kn\\u00f6del"])
def test_a_refusal_quotes_nothing_of_the_message(secret: str) -> None:
    for levels in (f'{{"audioMaxGain":"{secret}"}}', f'{{"{secret}":1,"{secret}":2}}', f'{{"a":{secret}}}'):
        assert secret not in refusal(message(event(levels)))
    late = event('{"audioMaxGain":1}').replace("2021-03-01T10:05:00.000Z", secret)
    assert secret not in refusal(message(late))


# Content encodings


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_content_encoding_stays(encoding: str) -> None:
    redacted = blanked(ENCODINGS[encoding](GOOD.encode()), encoding=encoding)
    assert inner_texts(REMOVERS[encoding](redacted.body)) == [event('{"audioMaxGain":0}')]


# The real bodies


@pytest.fixture(scope="module")
def bodies(shared: Path) -> list[bytes]:
    return real_bodies(shared / "data/webex/xdbg_log_first_half.txt")


@pytest.mark.shared
@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
@pytest.mark.parametrize("identifiers", [False, True])
@pytest.mark.parametrize("blank", Blank)
def test_all_real_bodies_leave_without_a_value(
    bodies: list[bytes], encoding: str, identifiers: bool, blank: Blank
) -> None:
    assert len(bodies) == 619
    for body in bodies:
        packed = ENCODINGS[encoding](body)
        redacted = blanked(packed, encoding=encoding, blank=blank, identifiers=identifiers)
        assert redacted.values == 3
        assert (redacted.identifiers > 20) is identifiers
        after = facts(redacted.body, TSA, TSA.messages[0], encoding)
        assert after.undecoded == ()
        assert set(readings(after.audio)) == ({0} if blank is Blank.ZERO else set())
        old, new = dict(leaves(plain(body))), dict(leaves(plain(REMOVERS[encoding](redacted.body))))
        gone = {path for path in old if old[path] != new.get(path)}
        assert {path[-1] for path in gone} >= GAINS
        assert list(new) == [path for path in old if path in new]  # in the order of the client
        if not identifiers:
            assert {path[-1] for path in gone} == GAINS


@pytest.mark.shared
def test_no_identifier_of_the_real_bodies_is_left(bodies: list[bytes]) -> None:
    for body in bodies[::20]:
        identified = dict(leaves(plain(body)))
        secrets = {
            str(value)
            for path, value in identified.items()
            if (path[:-2] == ("telemetrics",) and path[-1] in ("cid", "tid"))
            or path[-1] in ("localIP", "gatewayIP", "peerReflexiveIP", "information")
            or (path[-2] == "identifiers" and len(str(value)) > 3)
        }
        text = json.dumps(plain(blanked(body, identifiers=True).body))
        assert {secret for secret in secrets if f'"{secret}"' in text} == set()


@pytest.mark.shared
def test_a_real_body_with_residue_behind_it_is_refused(bodies: list[bytes]) -> None:
    assert "more text after its end" in refusal(bodies[0] + b'\n"audioMaxGain" : 46')


@pytest.mark.shared
def test_a_real_body_that_is_cut_anywhere_is_refused(bodies: list[bytes]) -> None:
    for length in range(0, len(bodies[0].rstrip()), 23):
        refusal(bodies[0][:length])


# Properties

NAMES = sorted(TSA.audio_names)
SCALARS = st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.integers(-99, 99) | st.floats(-1e9, 1e9)
PLAIN = st.text(max_size=6)
LEVELS = st.dictionaries(st.sampled_from(NAMES), NUMBERS, max_size=3)
VALUES = st.recursive(
    SCALARS | PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(st.dictionaries(PLAIN, inner, max_size=3), LEVELS).map(lambda pair: {**pair[0], **pair[1]})
        | inner.map(json.dumps)
    ),
    max_leaves=12,
)


def zeroed(value: Any) -> Any:
    """What must be left of a value; strings that hold JSON are opened."""
    if isinstance(value, dict):
        return {key: 0 if key in NAMES else zeroed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [zeroed(item) for item in value]
    if isinstance(value, str) and value.lstrip(" \t\r\n")[:1] in ("{", "[", '"'):
        try:
            return zeroed(json.loads(value))
        except ValueError:
            return value
    return value


def opened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: opened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [opened(item) for item in value]
    if isinstance(value, str) and value.lstrip(" \t\r\n")[:1] in ("{", "[", '"'):
        try:
            return opened(json.loads(value))
        except ValueError:
            return value
    return value


@settings(max_examples=300, deadline=None, derandomize=True)
@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_whatever_stands_beside_the_values_stays(extra: Any, is_ascii: bool, indent: int | None) -> None:
    inner = {"event": {"name": "x", "extra": extra}, "originTime": {"sent": "2021-03-01T10:05:00.000Z"}}
    body = message(json.dumps(inner, ensure_ascii=is_ascii, indent=indent))
    try:
        redacted = blanked(body)
    except RedactionError as error:
        assert "within texts" in str(error) or "digits" in str(error)
        return
    (left,) = inner_texts(redacted.body)
    assert opened(json.loads(left)) == zeroed(inner)
    assert blanked(redacted.body) == Redacted(redacted.body, 0, 0)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.sampled_from([None, "gzip", "deflate"]))
def test_random_bytes_are_refused(data: bytes, encoding: str | None) -> None:
    refusal(data, encoding=encoding)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.integers(0, 3))
def test_a_damaged_message_tells_nothing_or_is_refused(place: int, byte: int, cut: int) -> None:
    body = GOOD.encode()
    body = body[:place] + bytes([byte]) + body[place + cut :]
    try:
        redacted = blanked(body)
    except RedactionError:
        return
    assert b"46" not in b"".join(text.encode() for text in inner_texts(redacted.body))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.dictionaries(PLAIN, SCALARS, max_size=6), st.data())
def test_members_go_with_one_comma_each(members: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(members, indent=data.draw(st.sampled_from([None, 2])))
    whole, count = locate(text)
    assert count == len(members) + 1
    assert whole.items is not None
    goes = [data.draw(st.booleans()) for _ in members]
    left = {key: value for (key, value), is_going in zip(members.items(), goes, strict=True) if not is_going}
    assert json.loads(apply(text, removals(whole.items, goes))) == left
