"""Redaction of messages that nobody has seen: any number of elements, minutes, layers and encodings."""

import base64
import gzip
import json
import zlib
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from mutewatch.audio_names import names_audio
from mutewatch.extract import UNREAD, extract
from mutewatch.identity import Names
from mutewatch.records import AudioReport, Decoded
from mutewatch.redact import Blank, RedactionError, redact
from mutewatch.signatures import load_signatures
from tests.brute_force import leaves, opened, parsed
from tests.facts import exchange
from tests.test_redact import ENCODINGS, REMOVERS

TSA = next(signature for signature in load_signatures() if signature.id == "webex.tsa.v1")
KIND = TSA.messages[0]
LEVELS, MODULES = (sorted(group.fields) for group in KIND.audio.groups) if KIND.audio else ([], [])
SECRETS = st.integers(700_000, 799_999)  # numbers that stand nowhere else
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="H"), max_size=8)  # H4sI would be something packed


def packed(value: Any) -> str:
    return base64.b64encode(gzip.compress(json.dumps(value).encode(), mtime=0)).decode()


@st.composite
def intervals(draw: st.DrawFn, number: int) -> dict[str, Any]:
    """One interval, with values where the signature looks for them and elsewhere, in layers."""
    said = {"levels": draw(st.dictionaries(st.sampled_from(LEVELS), SECRETS, min_size=1))}
    modules = draw(st.dictionaries(st.sampled_from(MODULES), SECRETS, max_size=4))
    made: dict[str, Any] = {
        "intervalNumber": number,
        "audioTransmit": [said | {"streams": [{"audioAlgorithmModulesInfo": modules}]}],
        "note": draw(TEXTS),
    }
    elsewhere: Any = draw(st.dictionaries(st.sampled_from(LEVELS + MODULES), SECRETS, max_size=2))
    for layer in draw(st.lists(st.sampled_from(["text", "list", "packed"]), max_size=3)):
        match layer:
            case "text":
                elsewhere = {"inside": json.dumps(elsewhere)}
            case "list":
                elsewhere = {"many": [elsewhere, draw(TEXTS), None]}
            case "packed":
                elsewhere = {"gzipb64data": packed(elsewhere)}
    return made | {"elsewhere": elsewhere}


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """The body of a message with one to three elements, packed or inline, of one to three minutes each."""
    elements = []
    for number in range(draw(st.integers(1, 3))):
        count = draw(st.integers(1, 3))
        inner = {
            "event": {
                "name": draw(st.sampled_from(["client.mediaquality.event", "client.other"])),
                "identifiers": {"correlationId": f"call-{number}", "webexUserId": "user"},
                "intervals": [draw(intervals(10 * number + each)) for each in range(count)],
            },
            "originTime": {"sent": f"2021-03-01T10:{10 * number:02}:00.000Z"},
        }
        value: Any = {"gzipb64data": packed(inner)} if draw(st.booleans()) else inner
        elements.append({"cid": f"call-{number}", "tid": draw(TEXTS), "v": value})
    indent, is_ascii = draw(st.sampled_from([None, 1])), draw(st.booleans())
    return json.dumps({"telemetrics": elements}, indent=indent, ensure_ascii=is_ascii).encode()


def read(body: bytes) -> Decoded:
    return extract(exchange(body), TSA, KIND, {}, Names(None))


def minute(report: AudioReport) -> tuple[Any, ...]:
    return report.starts_at, report.ends_at, report.number, tuple(value.name for value in report.values)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(bodies(), st.sampled_from(sorted(ENCODINGS)), st.sampled_from(Blank), st.booleans())
def test_any_message_leaves_without_its_values_and_with_its_minutes(
    body: bytes, encoding: str, blank: Blank, identifiers: bool
) -> None:
    secrets = {value for path, value in leaves(opened(parsed(body))) if path[-1] in TSA.audio_names}
    try:
        done = redact(ENCODINGS[encoding](body), encoding, TSA, KIND, blank=blank, identifiers=identifiers)
    except RedactionError as error:
        event(str(error))
        assert "texts within texts" in str(error)
        return
    left = REMOVERS[encoding](done.body)
    remaining = list(leaves(opened(parsed(left))))
    told = {value for path, value in remaining if path[-1] in TSA.audio_names}
    assert told <= ({"0"} if blank is Blank.ZERO else set())
    assert not secrets & {str(value) for _, value in remaining}
    assert done.values >= len(secrets)
    again = redact(done.body, encoding, TSA, KIND, blank=blank, identifiers=identifiers)
    assert (again.body, again.values, again.identifiers) == (done.body, 0, 0)
    before, after = read(body), read(left)
    # Values in an event that is none of ours are told, and are zeroed or removed all the same.
    assert all(one.reason == UNREAD for one in (*before.undecoded, *after.undecoded))
    if blank is Blank.ZERO:
        assert list(map(minute, after.audio)) == list(map(minute, before.audio))
        assert names_audio(left, None, TSA.telling_names) is True
    else:
        assert after.audio == ()
        assert names_audio(left, None, TSA.telling_names) is False
    if not identifiers:
        calls = {report.call for report in before.audio}
        assert {report.call for report in after.audio} == (calls if blank is Blank.ZERO else set())
    assert done.sha256 == after.source.body_sha256


@settings(max_examples=80, deadline=None, derandomize=True)
@given(bodies(), st.data())
def test_a_damaged_message_raises_the_refusal_and_nothing_else(body: bytes, data: st.DataObject) -> None:
    encoding = data.draw(st.sampled_from(sorted(ENCODINGS)))
    whole = ENCODINGS[encoding](body)
    place = data.draw(st.integers(0, len(whole)))
    damaged = whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + data.draw(st.integers(0, 4)) :]
    try:
        done = redact(damaged, encoding, TSA, KIND, blank=Blank.REMOVE, identifiers=False)
    except RedactionError:
        return
    left = leaves(opened(parsed(REMOVERS[encoding](done.body))))
    assert not [path for path, _ in left if path and path[-1] in TSA.audio_names]  # a damaged name is another name


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=300), st.sampled_from([None, "gzip", "deflate", "br", "x"]))
def test_a_search_for_names_raises_nothing(data: bytes, encoding: str | None) -> None:
    assert names_audio(data, encoding, TSA.telling_names) in (True, False, None)
    wrapped = zlib.compress(data + b"audioMaxGain")
    assert names_audio(wrapped, "deflate", TSA.telling_names) is True
