"""The linter: what two signatures both read is found, exactly; evidence that is missing is said where it is missing."""

import re
import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mutewatch.commands.signatures import lint_files, new, validate
from mutewatch.commands.signatures import test as run_test
from mutewatch.errors import OperatorError
from mutewatch.signatures import FOLDER, Signature, load_signatures
from mutewatch.signatures.draft import skeleton, unfinished
from mutewatch.signatures.fixtures import run_fixtures
from mutewatch.signatures.lint import Remark, lint
from mutewatch.signatures.model import Message, match_host
from mutewatch.signatures.overlap import find_overlaps, hosts_meet, messages_meet, paths_meet

TODAY = date(2026, 11, 22)
TSA = tomllib.loads((FOLDER / "webex_tsa_v1.toml").read_text(encoding="utf-8"))


def made(**changes: Any) -> Signature:
    """The signature of the gains with other keys."""
    return Signature.model_validate({**TSA, "canary": None, **changes})


def with_message(**changes: Any) -> Signature:
    return made(messages=[{**TSA["messages"][0], **changes}])


def with_field(**changes: Any) -> Signature:
    audio = TSA["messages"][0]["audio"]
    levels, modules = audio["groups"]
    changed = {**levels["fields"], "audioMaxGain": {**levels["fields"]["audioMaxGain"], **changes}}
    return with_message(audio={**audio, "groups": [{**levels, "fields": changed}, modules]})


def said(*signatures: Signature, today: date = TODAY) -> list[Remark]:
    return [remark for remark in lint(signatures, today) if "vadRetentionOnMute" not in remark.field]


# -- the bundled ones ----------------------------------------------------------------------------------------


def test_the_bundled_signatures_have_no_fault() -> None:
    checked = max(signature.last_checked for signature in load_signatures())
    assert [str(remark) for remark in lint(load_signatures(), checked) if remark.is_fault] == []


# -- evidence ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signature", "field", "text", "is_fault"),
    [
        (made(source=["a colleague said so", *TSA["source"]]), "source.0", "no version, date, commit or URL", True),
        (made(source=["PETS'22, section 5.2"]), "confidence", "no source is a capture, a log or a dump", True),
        (made(last_checked=TODAY - timedelta(days=366)), "last_checked", "more than a year ago", False),
        (made(last_checked=TODAY + timedelta(days=2)), "last_checked", "yet to come", True),
        (made(hosts=["*.webex.com"]), "hosts.0", "every host of webex.com", False),
        (made(hosts=["tsa.webex.com", "*.example.co.uk"]), "hosts.1", "every host of example.co.uk", False),
        (with_field(unit=" "), "messages.0.audio: audioMaxGain", "has no unit", True),
        (with_field(floor=None), "messages.0.audio: audioMaxGain", "has no floor", False),
        (made(redact={"identifiers": []}), "redact.identifiers", "is empty", False),
        (made(messages=[*TSA["messages"], {**TSA["messages"][0], "path": "/v3"}]), "messages.1", "no fixture is", True),
    ],
)
def test_what_is_missing_is_said_where_it_is(signature: Signature, field: str, text: str, is_fault: bool) -> None:
    (remark,) = said(signature)
    assert (remark.field, remark.is_fault) == (field, is_fault)
    assert text in remark.text


@pytest.mark.parametrize(
    "signature",
    [
        made(),
        made(last_checked=TODAY - timedelta(days=365)),
        made(last_checked=TODAY + timedelta(days=1)),
        made(hosts=["*.telemetry.webex.com", "tsa*.webex.com", "*.*.webex.com"]),
        made(confidence="inferred", source=["https://example.org/firewall"]),
        made(confidence="code", source=["lib at 01daa07c3f"]),
    ],
)
def test_what_is_well_founded_is_left_alone(signature: Signature) -> None:
    assert said(signature) == []


def test_values_that_redaction_cannot_reach_are_said() -> None:
    text = "its values cannot be redacted"
    (remark,) = said(made(fixtures=[{**one, "body": one["body"] + " residue"} for one in TSA["fixtures"]]))
    assert (remark.field, text in remark.text, remark.is_fault) == ("messages.0", True, False)


# -- overlaps ------------------------------------------------------------------------------------------------


def test_two_signatures_that_read_the_same_message_must_say_so() -> None:
    one, other = made(), made(id="example.other", hosts=["*3.webex.com"])
    (remark,) = said(one, other)
    assert (remark.signature, remark.is_fault) == ("example.other", True)
    assert 'overlaps = ["webex.tsa.v1"]' in remark.text
    assert "POST tsa*.webex.com/metric/v1" in remark.text
    assert said(one, made(id="example.other", hosts=["*3.webex.com"], overlaps=["webex.tsa.v1"])) == []
    assert said(made(overlaps=["example.other"]), made(id="example.other")) == []


@pytest.mark.parametrize(
    "changes",
    [{"direction": "to-client"}, {"method": "WEBSOCKET"}, {"path": "/metric/{version}/more"}],
    ids=lambda one: next(iter(one)),
)
def test_another_direction_method_or_path_is_no_overlap(changes: dict[str, str]) -> None:
    one, other = made(), Message.model_validate({**TSA["messages"][0], **changes})
    assert not messages_meet(one.messages[0], other)
    assert messages_meet(one.messages[0], one.messages[0])


def test_of_one_signature_the_message_that_stands_later_is_told() -> None:
    later = {**TSA["messages"][0], "path": "/metric/{version}"}
    fixture = {**TSA["fixtures"][0], "path": "/metric/v9"}
    (remark,) = said(made(messages=[*TSA["messages"], later], fixtures=[*TSA["fixtures"], fixture]))
    assert (remark.field, remark.is_fault) == ("messages.1", False)
    assert "reads what messages.0 reads too" in remark.text


def test_messages_without_hosts_meet_only_each_other() -> None:
    fixtures = [{**one, "host": "a.example.org"} for one in TSA["fixtures"]]
    named, one, other = made(), made(id="a.rtp", hosts=[], fixtures=fixtures), made(id="b.rtp", hosts=[])
    assert list(find_overlaps([named, one])) == []
    assert [(found.left.id, found.right.id) for found in find_overlaps([one, other])] == [("a.rtp", "b.rtp")]


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("tsa*.webex.com", "*3.webex.com", True),
        ("tsa*.webex.com", "ts*b.webex.com", True),
        ("tsa*.webex.com", "tsb*.webex.com", False),
        ("*.webex.com", "a.b.webex.com", False),
        ("*.*.webex.com", "a.b.webex.com", True),
        ("a*a.webex.com", "a.webex.com", False),
    ],
)
def test_patterns_of_hosts_meet_inside_their_labels(one: str, other: str, meet: bool) -> None:
    assert hosts_meet(one, other) is hosts_meet(other, one) is meet


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("/a/{b}", "/{a}/b", True),
        ("/a/{b}", "/a/b/c", False),
        ("/**", "/a/b/c", True),
        ("/a/**", "/a", True),
        ("/**/z", "/a/b", False),
        ("/**/z", "/a/{b}", True),
        ("/a/**/z", "/**/y/z", True),
        ("/a/**", "/b/**", False),
    ],
)
def test_templates_of_paths_meet_by_segments(one: str, other: str, meet: bool) -> None:
    assert paths_meet(one, other) is paths_meet(other, one) is meet


LABEL = st.text(alphabet="ab*", min_size=1, max_size=4)
PATTERN = st.lists(LABEL, min_size=1, max_size=2).map(lambda labels: ".".join([*labels, "x", "com"]))
# Every host with at most four letters of a and b in each label: a longer one can be shortened where a `*` stands.
WORDS = [""] + [f"{number:b}"[1:].replace("0", "a").replace("1", "b") for number in range(2, 2**8)]


@given(PATTERN, PATTERN)
@example("a*b.x.com", "*ab*.x.com")
def test_hosts_meet_if_and_only_if_some_host_matches_both(one: str, other: str) -> None:
    """Label by label: what each of both matches among all words up to seven letters, enough for two of four."""
    mine, theirs = one.split("."), other.split(".")
    found = len(mine) == len(theirs) and all(
        any(match_host(left, word) and match_host(right, word) for word in WORDS)
        for left, right in zip(mine[:-2], theirs[:-2], strict=True)
    )
    assert hosts_meet(one, other) is found


SEGMENT = st.sampled_from(["a", "b", "{x}", "**"])
TEMPLATE = st.lists(SEGMENT, min_size=1, max_size=4).filter(lambda parts: parts.count("**") < 2)
PATHS = ["/" + "/".join(word.replace("a", "a/").replace("b", "b/").split("/")[:-1]) for word in WORDS if word]


def message(parts: list[str]) -> Message:
    named = [part.replace("x", f"x{'y' * number}") for number, part in enumerate(parts)]
    return Message.model_validate({**TSA["messages"][0], "path": "/" + "/".join(named)})


@given(TEMPLATE, TEMPLATE)
def test_paths_meet_if_and_only_if_some_path_matches_both(one: list[str], other: list[str]) -> None:
    left, right = message(one), message(other)
    found = any(left.path_pattern.fullmatch(path) and right.path_pattern.fullmatch(path) for path in ["/", *PATHS])
    assert paths_meet(left.path, right.path) is found


# -- a new one -----------------------------------------------------------------------------------------------


def test_a_new_signature_decodes_its_example_and_says_what_is_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.toml"
    new("example.metrics", path)
    held = run_fixtures_of(path)
    assert held
    assert all(held)
    assert validate([path]) == 2
    assert "still to do: app = " in capsys.readouterr().err
    with pytest.raises(OperatorError, match="File exists"):
        new("example.metrics", path)


def test_a_new_signature_is_valid_once_its_todos_are_filled_in(tmp_path: Path) -> None:
    text = skeleton("example.metrics", TODAY)
    todos = list(unfinished(text))
    assert len(todos) > 10
    filled = re.sub(r'"TODO[^"]*"', '"a capture of 2026-11-22"', text)
    path = tmp_path / "own.toml"
    path.write_text(re.sub(r"# TODO.*", "", filled))
    assert validate([path]) == 0
    assert run_test([path], None) == 0
    assert lint_files([path], None) == 0


@pytest.mark.parametrize("name", ["example", "Example.metrics", "a b.c", "", "webex.locus"])
def test_a_new_signature_has_an_id_of_its_own(name: str) -> None:
    with pytest.raises(OperatorError):
        new(name, None)


def run_fixtures_of(path: Path) -> list[bool]:
    return [result.holds for result in run_fixtures(Signature.model_validate(tomllib.loads(path.read_text())))]


# -- the command ---------------------------------------------------------------------------------------------


def test_a_file_is_linted_beside_all_that_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.toml"
    path.write_text('extends = "webex.tsa.v1"\nid = "example.tsa"\nhosts = ["tsa9.webex.com"]\n')
    assert lint_files([path], None) == 2
    told = capsys.readouterr().out
    assert "fault  example.tsa: messages.0: reads what webex.tsa.v1 reads too" in told
    assert "webex.clientmetrics" not in told
    assert told.endswith("1 signature, 1 at fault\n")
    assert validate([path]) == 2


def test_all_that_is_known_is_linted_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert lint_files([], None) == 0
    assert capsys.readouterr().out.endswith(f"{len(load_signatures())} signatures, nothing at fault\n")
