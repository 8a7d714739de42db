"""What no signature knows is searched for the names of audio-derived values, however it is packed."""

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from mutewatch.audio_names import names_audio
from mutewatch.identity import Names
from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.pipeline import Pipeline
from mutewatch.records import Verdict
from mutewatch.signatures import load_signatures
from tests.facts import at, exchange, tsa_body, tsa_event

NAMES = frozenset({"audioMaxGain", "maxRMS"})
TEXT = b'{"event":{"levels":{"audioMaxGain":46}},"filling":"0123456789"}'

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "in base64": base64.b64encode,
    "in base64 of URLs": base64.urlsafe_b64encode,
    "gzip": gzip.compress,
    "gzip, cut short": lambda text: gzip.compress(text, mtime=0)[:-9],
    "gzip in base64": lambda text: base64.b64encode(gzip.compress(text)),
    "gzip in base64 with the slashes escaped": lambda text: base64.b64encode(gzip.compress(text)).replace(b"/", b"\\/"),
    "gzip in base64 in gzip": lambda text: gzip.compress(base64.b64encode(gzip.compress(text))),
    "in a form": lambda text: b"data=" + quote(base64.b64encode(gzip.compress(text)), safe="").encode(),
    "between other parts": lambda text: b"--x\r\n\r\n" + gzip.compress(text) + b"\r\n--x--\r\n",
    "escaped": lambda text: text.replace(b"audio", b"\\u0061udio"),
    "escaped twice": lambda text: json.dumps(json.dumps(text.replace(b"audio", b"\\u0061udio").decode())).encode(),
    "in percent": lambda text: text.replace(b"audio", b"%61udio"),
    "in UTF-16": lambda text: text.decode().encode("utf-16"),
    "in another case": bytes.lower,
}


@pytest.mark.parametrize("way", PACKED)
def test_a_name_is_found(way: str) -> None:
    assert names_audio(PACKED[way](TEXT), None, NAMES) is True
    assert names_audio(PACKED[way](TEXT.replace(b"Gain", b"Loss")), None, NAMES) is False


@pytest.mark.parametrize("body", [b"", b"{}", bytes(range(256)) * 9, b"\x1f\x8b\x08" * 9, b"maxRMSx", b"%" * 99])
def test_where_there_is_none_none_is_found(body: bytes) -> None:
    assert names_audio(body, None, NAMES) is False
    assert names_audio(TEXT, None, frozenset()) is False


@pytest.mark.parametrize(
    ("body", "encoding", "limits"),
    [
        (None, None, DEFAULT_LIMITS),
        (b"x" * 101, None, Limits(body=100)),
        (b"{}", "br", DEFAULT_LIMITS),
        (b"{}", "gzip", DEFAULT_LIMITS),
        (gzip.compress(b" " * 2000), None, Limits(inflated_total=1000)),
        (b"x" * 2000, None, Limits(inflated_total=1000)),
        (b"\x1f\x8b\x08\x1f" * 65, None, DEFAULT_LIMITS),
        (gzip.compress(gzip.compress(gzip.compress(TEXT))), None, Limits(redact_layers=0)),
    ],
)
def test_what_cannot_be_searched_in_full_is_said(body: bytes | None, encoding: str | None, limits: Limits) -> None:
    assert names_audio(body, encoding, NAMES, limits) is None


def test_a_content_encoding_is_removed_first() -> None:
    assert names_audio(zlib.compress(TEXT), "deflate", NAMES) is True


def test_a_new_path_of_a_telemetry_host_is_no_silence() -> None:
    pipeline = Pipeline(load_signatures(), Names(b"k" * 32))
    body = tsa_body(tsa_event(1, at(1)))
    for path in ("/metric/v2", "/u/8f14e45f/metric/v1/ann@example.com"):
        pipeline.feed(exchange(body, path=path, sent_at=at(1)))
    pipeline.feed(exchange(b"{}", path="/log", sent_at=at(1)))
    pipeline.feed(exchange(body, path="/metric/v2", host="www.example.com"))
    found = pipeline.finish()
    assert {finding.verdict for finding in found} == {Verdict.UNDECODED}
    said = ": no message of the signature, and it names audio-derived values"
    assert {finding.reason.removesuffix(said) for finding in found} == {"POST /metric/v2", "POST /*/*/metric/v1/*"}
    counts = pipeline.counts
    assert (counts.exchanges, counts.unmatched, counts.unmatched_audio, counts.matched) == (4, 3, 2, 0)


def test_the_answer_to_an_unknown_message_is_not_counted_again() -> None:
    pipeline = Pipeline(load_signatures(), Names(b"k" * 32))
    sent = exchange(b"{}", path="/log", status=None)
    pipeline.feed(sent)
    pipeline.feed(replace(sent, status=204), again=True)
    assert pipeline.counts.unmatched == 1


@pytest.mark.parametrize(
    "filling",
    [b"\x1f\x8b\x08\x1f", b"\x1f\x8b\x08\x08", b"%41\\u0041\0" + b"A" * 31 + b" ", b"A", b"%", b"\\u00", b"\\"],
)
def test_the_worst_of_a_mebibyte_is_searched_to_an_end(filling: bytes) -> None:
    body = b"\\u0041" + filling * ((1 << 20) // len(filling) - 6)
    for _ in range(3):
        body = base64.b64encode(body)[: 1 << 20]
        assert names_audio(body, None, NAMES) in (False, None)  # in tenths of a second; quadratic would be hours
