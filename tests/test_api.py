"""In a notebook: the same findings as on the command line, as objects, tables and files; nothing is printed."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import mutewatch
from mutewatch.api import Found
from mutewatch.commands.output import Format, write_parquet
from mutewatch.commands.scan import ScanOptions
from mutewatch.commands.scan import scan as command
from mutewatch.compose import PipelineOptions
from mutewatch.errors import OperatorError
from mutewatch.sinks.flat import COLUMNS, flat_row
from mutewatch.sinks.record import finding_record
from mutewatch.store import Store
from mutewatch.summary import Summary
from tests.test_sinks import findings, naughty

SAMPLE = Path(__file__).parents[1] / "mutewatch/sample"
CAPTURE = SAMPLE / "meeting.pcapng"


@pytest.fixture
def found(tmp_path: Path) -> Found:
    return mutewatch.scan(CAPTURE, state=tmp_path / "state")


def printed(options: ScanOptions, paths: list[Path], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    command(paths, options, PipelineOptions())
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_it_finds_what_the_command_prints(found: Found, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert capsys.readouterr() == ("", "")
    *records, summary = printed(ScanOptions(tmp_path / "state", format=Format.JSONL), [CAPTURE], capsys)
    assert [finding_record(one) for one in found] == [one for one in records if one["type"] == "finding"]
    assert found.summary.record() == summary
    assert len(found.flows) == len([one for one in records if one["type"] == "flow"]) > 0
    assert found.errors == []


def test_what_was_found_before_the_damage_is_kept_and_the_damage_told(tmp_path: Path) -> None:
    whole = CAPTURE.read_bytes()
    (tmp_path / "cut.pcapng").write_bytes(whole[: len(whole) * 3 // 4])
    found = mutewatch.scan([tmp_path / "cut.pcapng", tmp_path / "none.pcap"], state=tmp_path / "state")
    assert len(found) > 5
    assert ["cut.pcapng" in found.errors[0], "none.pcap" in found.errors[1]] == [True, True]
    assert "2 could not be read to the end" in repr(found)


def test_no_finding_does_not_read_as_clean(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text((SAMPLE / "meeting.jsonl").read_text().splitlines()[0] + "\n")
    found = mutewatch.scan(str(tmp_path / "log.jsonl"), state=tmp_path / "state")
    assert repr(found) == "<mutewatch: no finding; 0 messages from known endpoints>"
    assert "that no leak was found here does not mean that there was none" in found._repr_html_()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"assume": "loud"}, "assume='loud': write 'muted' or 'unmuted', or leave it out"),
        ({"keylog": "no-such-log"}, "no-such-log: there is no such key log"),
        ({"mute": "no-such-timeline"}, "no-such-timeline"),
        ({"addresses": ["here"]}, "here: not an IP address, such as 192.0.2.7 or 2001:db8::7"),
        ({"addresses": "here"}, "here: not an IP address, such as 192.0.2.7 or 2001:db8::7"),
        ({"without": "Zum"}, "no signature and no app is called 'Zum'"),
        ({"engine": "fast"}, "engine='fast': write 'native' or 'tshark', or leave it out"),
    ],
)
def test_what_the_caller_got_wrong_is_said_in_one_line(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as error:
        mutewatch.scan(CAPTURE, state=tmp_path / "state", **options)
    assert said in str(error.value)


def test_a_store_is_read_as_it_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command([CAPTURE], ScanOptions(tmp_path / "state", store=tmp_path / "store"), PipelineOptions())
    stored = mutewatch.open_store(tmp_path / "store")
    with Store(tmp_path / "store") as store:
        assert stored.findings == list(store.findings())
    assert stored.summary.counts.matched > 0
    with pytest.raises(OperatorError, match="no store at"):
        mutewatch.open_store(tmp_path / "none")


@pytest.mark.shared
def test_nothing_from_the_wire_gets_out_of_its_cell(shared: Path) -> None:
    for name in naughty(shared):
        page = Found(findings(name), Summary())._repr_html_()
        assert page.count("<td>") == page.count("</td>") == 9 * 4
        assert "<script" not in page.lower()


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = "import sys, mutewatch; print(*{'mutewatch.api', 'sqlalchemy', 'numpy', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# -- tables -----------------------------------------------------------------------------------------------------


def test_a_frame_has_a_row_a_finding_in_typed_columns(found: Found) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed (extra 'table')")
    frame = found.to_frame()
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == len(found)
    kinds = {name: str(frame[name].dtype) for name in ("ends_at", "max_gain", "frame", "muted_seconds")}
    assert kinds == {
        "ends_at": "datetime64[us, UTC]",
        "max_gain": "float64",
        "frame": "Int64",
        "muted_seconds": "float64",
    }
    assert frame.verdict.value_counts().to_dict() == dict(found.summary.verdicts)
    assert Found([], found.summary).to_frame().dtypes.to_dict() == frame.dtypes.to_dict()


def test_parquet_holds_what_the_rows_hold(found: Found, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra 'table')")
    write_parquet(found, tmp_path / "findings.parquet")
    table = parquet.read_table(tmp_path / "findings.parquet")
    assert table.to_pylist() == [flat_row(finding) for finding in found]
    assert (tmp_path / "findings.parquet").stat().st_mode & 0o077 == 0
    assert str(table.schema.field("starts_at").type) == "timestamp[us, tz=UTC]"


def test_parquet_is_written_in_groups_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra 'table')")
    monkeypatch.setattr("mutewatch.sinks.parquet.ROWS_AT_ONCE", 2)
    write_parquet(iter(findings()), tmp_path / "findings.parquet")
    assert parquet.ParquetFile(tmp_path / "findings.parquet").num_row_groups == 2


def test_the_command_writes_parquet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra 'table')")
    options = ScanOptions(tmp_path / "state", format=Format.PARQUET, output=tmp_path / "out.parquet")
    assert command([CAPTURE], options, PipelineOptions()) == 0
    assert parquet.read_table(tmp_path / "out.parquet").num_rows == 20
    assert "FLAGGED" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "said"), [("pandas", "to_frame() needs pandas"), ("pyarrow", "Parquet needs pyarrow")]
)
def test_without_its_library_one_line_says_what_to_install(
    module: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(OperatorError) as error:
        if module == "pandas":
            Found(findings(), Summary()).to_frame()
        write_parquet(findings(), tmp_path / "findings.parquet")
    assert said in str(error.value)
    assert "pip install 'mutewatch[table]'" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_parquet_is_nothing_for_a_terminal(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'table')")
    with pytest.raises(OperatorError, match="name it with --output FILE"):
        command([CAPTURE], ScanOptions(tmp_path / "state", format=Format.PARQUET), PipelineOptions())


def test_a_row_tells_the_gains_by_role_and_all_values_beside_them(found: Found) -> None:
    row = next(flat_row(one) for one in found if one.values)
    values = json.loads(row["values"])
    assert row["max_gain"] == values["audioMaxGain"]["value"]
    assert values["audioMaxGain"]["unit"] == "dB"
    assert row["starts_at"] == datetime(2026, 3, 2, 9, 0, 0, 11_000, tzinfo=UTC)
