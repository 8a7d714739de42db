"""The operator's timeline: both formats, every way to name a client, and faults named by line."""

from pathlib import Path

import pytest

from mutewatch.errors import OperatorError
from mutewatch.identity import Names
from mutewatch.timeline import load_timeline
from tests.facts import at

NAMES = Names(b"k" * 32)


def load(tmp_path: Path, text: str) -> dict[str, list[tuple[object, bool]]]:
    path = tmp_path / "mute.txt"
    path.write_text(text, encoding="utf-8")
    return load_timeline(path, NAMES)  # type: ignore[return-value]


@pytest.mark.parametrize(
    "text",
    [
        "time,client,muted\n2026-03-02T09:01:00Z,U1,true\n\n2026-03-02T10:02:00+01:00,U1,unmuted\n",
        "\ufeffMuted,Time,Client\r\nYES,2026-03-02 09:01,U1\r\nno,1772442120,U1\r\n".replace(
            "1772442120", "2026-03-02T09:02"
        ),
        '{"time": "2026-03-02T09:01:00Z", "client": "U1", "muted": true}\n'
        '{"time": 1772442120, "client": "U1", "muted": false}\n',
    ],
    ids=["csv", "csv with BOM, other order, no zone", "json lines"],
)
def test_both_formats_say_the_same(tmp_path: Path, text: str) -> None:
    timeline = load(tmp_path, text)
    assert timeline["U1"] == [(at(1), True), (at(2), False)]
    assert timeline[NAMES.pseudonym("U1")] == timeline["U1"]


@pytest.mark.parametrize("client", ["*", ""])
def test_no_client_means_everyone(tmp_path: Path, client: str) -> None:
    assert "*" in load(tmp_path, f"time,client,muted\n2026-03-02T09:01:00Z,{client},true\n")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "line 1: the first line must be: time,client,muted"),
        ("when,who\n", "line 1: the first line must be: time,client,muted"),
        ("time,client,muted\nnoon,U1,true\n", "line 2: time 'noon' is not ISO 8601"),
        ("time,client,muted\n2026-03-02T09:01:00Z,U1,maybe\n", "line 2: muted is 'maybe'; write true or false"),
        ("time,client,muted\n2026-03-02T09:01:00Z,U1\n", "line 2: 2 fields instead of 3"),
        ('{"time": "2026-03-02T09:01:00Z"}\n', "line 1: needs the keys time, client, muted"),
        ('{"time": 1e99, "muted": true}\n', "line 1: time 1e+99 is not ISO 8601"),
        ("{oops\n", "line 1: not JSON"),
    ],
)
def test_a_fault_is_named_by_file_and_line(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(OperatorError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'mute.txt'}: {fault}")


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"none\.csv: No such file"):
        load_timeline(tmp_path / "none.csv", NAMES)
