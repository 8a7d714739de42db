"""Signatures: those that ship hold their own fixtures; a faulty one is refused with file and field."""

import json
from pathlib import Path

import pytest

from mutewatch.errors import OperatorError
from mutewatch.records import Role
from mutewatch.signatures import FOLDER, Signature, load_signature, load_signatures, match_host, schema
from mutewatch.signatures.fixtures import run_fixtures


@pytest.mark.parametrize(
    ("signature", "name"), [(s, fixture.name) for s in load_signatures() for fixture in s.fixtures], ids=str
)
def test_every_fixture_gives_the_facts_it_states(signature: Signature, name: str) -> None:
    result = next(result for result in run_fixtures(signature) if result.name == name)
    assert result.got == result.expected


def test_the_three_webex_signatures_ship() -> None:
    assert [s.id for s in load_signatures() if s.app == "Webex"] == [
        "webex.clientmetrics",
        "webex.locus",
        "webex.tsa.v1",
    ]


def test_both_webex_reports_name_the_same_audio_fields() -> None:
    groups = [
        message.audio.groups
        for signature in load_signatures()
        for message in signature.messages
        if message.audio is not None and signature.app == "Webex"
    ]
    assert groups[0] == groups[1]
    roles = [field.role for group in groups[0] for field in group.fields.values() if field.role]
    assert roles == [Role.MAX_GAIN, Role.MEAN_GAIN, Role.MIN_GAIN]


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("tsa*.webex.com", "tsa3.webex.com", True),
        ("tsa*.webex.com", "TSA3.Webex.COM.", True),
        ("tsa*.webex.com", "tsa.webex.com", True),
        ("tsa*.webex.com", "tsa3.evil.webex.com", False),
        ("tsa*.webex.com", "tsa3.webex.com.evil", False),
        ("tsa*.webex.com", "xtsa3.webex.com", False),
        ("tsa*.webex.com", "evil-webex.com", False),
        ("tsa*.webex.com", "tsa3-webex.com", False),
        ("tsa*.webex.com", "tsa3\n.webex.com", False),
        ("locus.*.*.meetapi.webex.com", "locus.meet-a.prod.meetapi.webex.com", True),
    ],
)
def test_a_star_stays_inside_its_label(pattern: str, host: str, matches: bool) -> None:
    assert match_host(pattern, host) is matches


@pytest.mark.parametrize(
    ("method", "host", "path", "matches"),
    [
        ("POST", "tsa3.webex.com", "/metric/v1", True),
        ("POST", "tsa3.webex.com", "/metric/v1/", True),
        ("POST", None, "/metric/v1", True),
        ("GET", "tsa3.webex.com", "/metric/v1", False),
        ("POST", "tsa3.webex.com", "/metric/v2", False),
        ("POST", "tsa3.webex.com", "/x/metric/v1", False),
        ("POST", "www.webex.com", "/metric/v1", False),
    ],
)
def test_a_request_matches_by_method_host_and_path(method: str, host: str | None, path: str, matches: bool) -> None:
    tsa = next(s for s in load_signatures() if s.id == "webex.tsa.v1")
    assert (tsa.match(method, host, path) is not None) is matches


def test_named_path_segments_are_given_out() -> None:
    locus = next(s for s in load_signatures() if s.id == "webex.locus")
    matched = locus.match("PATCH", "locus-a.wbx2.com", "/locus/api/v1/loci/L1/participant/P1/controls")
    assert matched is not None
    assert matched[1] == {"locus": "L1", "participant": "P1"}


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('id = "webex.locus"', 'id = "webex.locus"\ncolour = "red"', "colour: Extra inputs are not permitted"),
        ('confidence = "code"', 'confidence = "sure"', "confidence: Input should be"),
        ("source = [", "source = []\nformerly = [", "source: Tuple should have at least 1 item"),
        ('steps = ["json_in_string"]', 'steps = ["pickle"]', "no step 'pickle'; there are base64, gzip"),
        ('each = "document.localMedias[].localSdp"', 'each = "a["', "not a JMESPath expression"),
        ('"locus-*.wbx2.com"', '"*.com"', "never in the last two"),
        ('"locus-*.wbx2.com"', '"(a+)+.wbx2.com"', "a host is lower-case labels"),
        ("/{participant}/media", "/(.*)+/media", "a path is literal segments"),
        ('kind = "damaged"', 'kind = "negative"', "fixtures: none is damaged"),
        ("[[messages]]", "[[messages", "not TOML"),
    ],
)
def test_a_faulty_signature_is_refused_by_file_and_field(tmp_path: Path, old: str, new: str, fault: str) -> None:
    text = (FOLDER / "webex_locus.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "faulty.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(OperatorError) as caught:
        load_signature(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_id_may_be_given_only_once() -> None:
    with pytest.raises(OperatorError, match=r"there is already a signature webex\.locus"):
        load_signatures(FOLDER / "webex_locus.toml")


def test_the_committed_schema_is_the_models() -> None:
    assert (FOLDER / "signature.schema.json").read_text(encoding="utf-8") == schema()
    assert json.loads(schema())["additionalProperties"] is False
