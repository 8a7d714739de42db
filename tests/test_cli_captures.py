"""`mutewatch scan` and `convert` on captures, as their users meet them: every way in, every way out."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from mutewatch.commands.convert import convert
from mutewatch.commands.output import Format
from mutewatch.commands.scan import ScanOptions, scan
from mutewatch.compose import PipelineOptions
from mutewatch.errors import InputError, OperatorError
from mutewatch.ports import ReadOptions
from mutewatch.report.payload import SAMPLE
from pcap_tools import read_inputs
from pcap_tools.flow_writer import WRITERS
from pcap_tools.verify import Opinion
from tests.captures.conversations import converse
from tests.captures.files import pcap
from tests.captures.links import frames
from tests.captures.openssl import Settings
from tests.captures.packets import segments
from tests.captures.variants import VARIANTS
from tests.test_cli_scan import ROOT, Run
from tests.test_same_door import scanned

CAPTURE = SAMPLE / "meeting.pcapng"
HALF = CAPTURE.stat().st_size // 2 + 1
DEADLINE = 60  # seconds; what is waited for takes one or two


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture(scope="module")
def minutes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The minutes of the sample, as its HAR gives them."""
    folder = tmp_path_factory.mktemp("har")
    found: dict[str, int] = Run("scan", SAMPLE / "meeting.har", "--format", "jsonl", state=folder).summary["minutes"]
    assert found["flagged"] == 16
    return found


def written(name: str, folder: Path) -> tuple[list[Path], tuple[Path, ...]]:
    """Write a variant; return its files and its key log."""
    folder.mkdir()
    paths, keylog = VARIANTS[name]().write(folder)
    return paths, (keylog,) if keylog else ()


class Here:
    """A finished scan in this process."""

    def __init__(self, paths: list[Path], options: ScanOptions, capsys: pytest.CaptureFixture[str]) -> None:
        judging = PipelineOptions(activity=False)
        self.code = scan(paths, replace(options, format=Format.JSONL, state=paths[0].parent / "state"), judging)
        out, self.err = capsys.readouterr()
        self.records: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
        self.summary = self.records[-1]
        self.flows = [record for record in self.records if record["type"] == "flow"]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A copy of the sample capture."""
    return Path(shutil.copy(CAPTURE, tmp_path))


# -- scan -------------------------------------------------------------------------------------------------------


def test_verify_of_what_is_no_capture_says_that_nobody_was_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Here([Path(shutil.copy(SAMPLE / "meeting.har", tmp_path))], ScanOptions(verify=True), capsys)
    assert (run.code, "tshark was not asked, as no flow of a capture was looked into" in run.err) == (0, True)


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
def test_verify_asks_tshark_and_says_what_it_thinks(
    minutes: dict[str, int], capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Here([capture], ScanOptions(verify=True), capsys)
    assert (run.code, run.summary["minutes"]) == (0, minutes)
    assert run.err == "mutewatch: tshark reads the same 30 bodies\n"


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
def test_the_reference_engine_finds_the_same(
    minutes: dict[str, int], capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Here([capture], ScanOptions(engine="tshark"), capsys)
    assert (run.code, run.err, run.summary["minutes"]) == (0, "", minutes)


@pytest.mark.parametrize("options", [{"follow": True}, {"rotated": True}])
def test_the_reference_engine_reads_one_file_at_a_time(
    options: dict[str, bool], capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OperatorError, match="one file at a time: leave out --engine, or --rotated, --follow and -"):
        Here([capture, capture], ScanOptions(engine="tshark", **options), capsys)  # type: ignore[arg-type]


def test_rotated_files_are_one_capture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths, keylogs = written("pcap_rotated", tmp_path / "in")
    together = Here(paths, ScanOptions(keylogs=keylogs, rotated=True), capsys)
    assert [(flow["messages"], flow["outcome"]) for flow in together.flows] == [(30, "decrypted")] * 2
    assert [given["name"] for given in together.summary["inputs"]] == [" ".join(map(str, paths))]
    apart = Here(paths, ScanOptions(keylogs=keylogs), capsys)
    assert len(apart.summary["inputs"]) == 4


def test_rotated_files_must_be_captures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    har = Path(shutil.copy(SAMPLE / "meeting.har", tmp_path))
    with pytest.raises(OperatorError, match="is not a capture: --rotated is for captures"):
        Here([har, har], ScanOptions(rotated=True), capsys)


def test_flows_of_an_address_are_looked_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths, _ = written("tls13_outer_name", tmp_path / "in")
    assert Here(paths, ScanOptions(), capsys).flows == []
    named = Here(paths, ScanOptions(addresses=("198.51.100.1",)), capsys)
    assert [(flow["chosen_by"], flow["outcome"]) for flow in named.flows] == [("address", "no key in log")] * 2


@contextmanager
def started(*arguments: object, state: Path) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MUTEWATCH_STATE": str(state)}
    command = [sys.executable, "-m", "mutewatch.cli", *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        if process.stdout and hasattr(fcntl, "F_SETPIPE_SZ"):  # nobody reads before the end: all of it must fit
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 1 << 20)
        try:
            yield process
        finally:
            process.kill()


def ended(process: "subprocess.Popen[bytes]", given: bytes | None = None) -> tuple[int, dict[str, object], str]:
    """Return exit code, summary and standard error of a run."""
    out, err = process.communicate(given, timeout=DEADLINE)
    return process.returncode, json.loads(out.splitlines()[-1]), err.decode()


def test_a_capture_comes_through_a_pipe(minutes: dict[str, int], state: Path) -> None:
    with started("scan", "-", "--format", "jsonl", state=state) as process:
        code, summary, err = ended(process, CAPTURE.read_bytes())
    assert (code, err, summary["minutes"]) == (0, "", minutes)


def test_a_pipe_that_breaks_gives_what_came_before(state: Path) -> None:
    with started("scan", "-", "--format", "jsonl", state=state) as process:
        code, summary, err = ended(process, CAPTURE.read_bytes()[:HALF])
    assert (code, summary["files_with_errors"]) == (3, 1)
    assert err.startswith("mutewatch: -: byte ")


def wait_until_read(process: "subprocess.Popen[bytes]", path: Path) -> None:
    """Wait until the process has come to the end of a file and has nothing more to do."""
    links, end, used = Path(f"/proc/{process.pid}/fd"), time.monotonic() + DEADLINE, -1
    while time.monotonic() < end:
        assert process.poll() is None
        before, used = (
            used,
            sum(map(int, Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13])),
        )
        for link in links.iterdir():
            if link.exists() and link.samefile(path):
                info = Path(f"/proc/{process.pid}/fdinfo/{link.name}").read_text()
                if int(info.split()[1]) == path.stat().st_size and used == before:
                    return
        time.sleep(0.3)
    raise TimeoutError("it was not read")


needs_proc = pytest.mark.skipif(not Path("/proc/self/fdinfo").is_dir(), reason="needs Linux's /proc")


@needs_proc
def test_a_growing_capture_is_followed_until_ctrl_c(minutes: dict[str, int], state: Path, tmp_path: Path) -> None:
    path, whole = tmp_path / "growing.pcapng", CAPTURE.read_bytes()
    path.write_bytes(whole[:HALF])
    with started("scan", path, "--follow", "--format", "jsonl", state=state) as process:
        wait_until_read(process, path)
        with path.open("ab") as file:
            file.write(whole[HALF:])
        wait_until_read(process, path)
        process.send_signal(signal.SIGINT)
        code, summary, err = ended(process)
    assert (code, err, summary["minutes"]) == (0, "", minutes)


@needs_proc
def test_a_followed_capture_ends_when_it_is_rotated_away(minutes: dict[str, int], state: Path, tmp_path: Path) -> None:
    path = tmp_path / "growing.pcapng"
    path.write_bytes(CAPTURE.read_bytes())
    with started("scan", path, "--follow", "--format", "jsonl", state=state) as process:
        wait_until_read(process, path)
        path.rename(tmp_path / "growing.pcapng.1")
        code, summary, err = ended(process)
    assert (code, err, summary["minutes"]) == (0, "", minutes)


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (Opinion(30, 0, 0), 0),
        (Opinion(29, 1, 0), 0),
        (Opinion(30, 0, 1), 3),
        (Opinion(0, 0, 0, "tshark stopped early"), 3),
    ],
    ids=str,
)
def test_what_only_tshark_finds_is_a_fault(
    told: Opinion, code: int, capture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pcap_tools.verify.second_opinion", lambda *_asked: told)
    assert Here([capture], ScanOptions(verify=True), capsys).code == code


def test_flows_of_other_hosts_that_have_keys_are_counted_and_not_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    talk = converse(Settings(), count=1, flows=2, host="bank.example")
    (folder / "other.pcap").write_bytes(pcap(frames(segments(talk))))
    (folder / "keys.log").write_bytes(talk.keylog)
    run = Here([folder / "other.pcap"], ScanOptions(keylogs=(folder / "keys.log",)), capsys)
    assert (run.flows, run.summary["flows"], run.summary["flows_of_others"]) == ([], {}, 2)
    scan([folder / "other.pcap"], ScanOptions(tmp_path / "state", keylogs=(folder / "keys.log",)), PipelineOptions())
    out = capsys.readouterr().out
    assert "2 flows of other hosts opened for the keys in the log." in out
    assert "bank.example" not in out


# -- convert ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mitm", ".har", ".pcapng"])
def test_what_is_converted_is_judged_the_same(suffix: str, state: Path, tmp_path: Path) -> None:
    out = tmp_path / f"out{suffix}"
    assert convert([CAPTURE], out, (), (), (), False) == 0
    assert out.stat().st_mode & 0o077 == 0
    assert scanned(str(out), state) == scanned("meeting.har", state)


def test_a_conversion_on_the_command_line(state: Path, tmp_path: Path) -> None:
    paths, keylogs = written("pcap_with_noise", tmp_path / "in")
    out = tmp_path / "out.mitm"
    run = Run("convert", *paths, "-k", keylogs[0], "--host", "*.webex.com", "-o", out, state=state)
    assert (run.code, run.err) == (0, "")
    assert run.out == f"Flows: 2 decrypted.\nWrote 60 messages to {out}.\n"
    assert len(list(read_inputs([out], ReadOptions()))) == 60


@pytest.mark.parametrize(("suffix", "wrote"), [(".mitm", 21), (".har", 21), (".pcapng", None)])
def test_of_a_capture_with_all_keys_only_the_hosts_that_were_asked_for_are_converted(
    suffix: str, wrote: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"out{suffix}"
    assert convert([CAPTURE], out, (), ("tsa*.webex.com",), (), False) == 0
    told = capsys.readouterr().out
    assert told.startswith("Flows: 1 decrypted.\n") and (wrote is None or f"Wrote {wrote} messages" in told)
    assert {exchange.host for exchange in read_inputs([out], ReadOptions())} == {"tsa3.webex.com"}
    assert convert([CAPTURE], out, (), ("nobody.example",), (), False) == 0
    assert capsys.readouterr().out.startswith("Wrote 0 ")


def test_a_conversion_says_what_stayed_closed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths, _ = written("tls13", tmp_path / "in")
    assert convert(paths, tmp_path / "out.har", (), (), (), False) == 3
    assert capsys.readouterr().out.startswith("Flows: 2 no key in log.\n")
    assert json.loads((tmp_path / "out.har").read_bytes())["log"]["entries"] == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out.txt", "end the name with .mitm, .har or .pcapng, to say"),
        ("meeting.pcapng", "is one of the inputs: choose another name"),
        ("none/out.har", "cannot write .*/none/out.har: No such file"),
    ],
)
def test_a_place_that_cannot_be_written_is_the_operators_fault(name: str, said: str, capture: Path) -> None:
    with pytest.raises(OperatorError, match=said):
        convert([capture], capture.parent / name, (), (), (), False)


@pytest.mark.parametrize(
    ("name", "out", "said"),
    [
        ("meeting.har", "out.mitm", "meeting.har: is not a capture"),
        ("none", "out.mitm", "none: not found"),
        ("cut.pcapng", "out.mitm", "incomplete: the file ends in the middle of a"),
        ("cut.pcapng", "out.pcapng", "incomplete: the file ends in the middle of a"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(
    name: str, out: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (CAPTURE, SAMPLE / "meeting.har"):
        shutil.copy(file, tmp_path)
    (tmp_path / "cut.pcapng").write_bytes(CAPTURE.read_bytes()[:HALF])
    assert convert([tmp_path / name], tmp_path / out, (), (), (), False) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mutewatch: ") and said in line


def test_a_carved_capture_of_rotated_files_holds_both_flows(tmp_path: Path) -> None:
    paths, keylogs = written("pcap_rotated", tmp_path / "in")
    out = tmp_path / "out.pcapng"
    assert convert(paths, out, keylogs, (), (), True) == 0
    assert len([exchange for exchange in read_inputs([out], ReadOptions()) if exchange.body]) == 60


# -- nothing is lost --------------------------------------------------------------------------------------------


def test_a_good_file_survives_a_conversion_that_fails(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = capture.parent / "out.mitm"
    out.write_bytes(b"good")

    def fail(_messages: object, file: BinaryIO) -> int:
        file.write(b"half")
        raise RuntimeError

    monkeypatch.setitem(WRITERS, ".mitm", fail)
    with pytest.raises(RuntimeError):
        convert([capture], out, (), (), (), False)
    assert (out.read_bytes(), sorted(capture.parent.iterdir())) == (b"good", [capture, out])


def test_what_is_written_over_a_file_is_its_owners_only(capture: Path) -> None:
    out = capture.parent / "out.har"
    out.touch(mode=0o644)
    assert convert([capture], out, (), (), (), False) == 0
    assert out.stat().st_mode & 0o777 == 0o600
    assert sorted(capture.parent.iterdir()) == [capture, out]


@pytest.mark.parametrize("taken", ["meeting.pcapng", "keys.log", "mute.csv", "findings.db", "link.pcapng"])
def test_no_output_takes_the_place_of_what_is_read(taken: str, capture: Path) -> None:
    folder = capture.parent
    keylog, mute, store = folder / "keys.log", folder / "mute.csv", folder / "findings.db"
    for path in (keylog, mute, store):
        path.write_text("time,client,muted\n")
    (folder / "link.pcapng").hardlink_to(capture)
    options = ScanOptions(folder / "state", keylogs=(keylog,), output=folder / taken, store=store)
    with pytest.raises(OperatorError, match="is one of the inputs: choose another name"):
        scan([capture], options, PipelineOptions(mute_file=mute))
    assert [path.read_text() for path in (keylog, mute, store)] == ["time,client,muted\n"] * 3
    assert capture.read_bytes() == CAPTURE.read_bytes()


@pytest.mark.parametrize(
    ("kind", "said"),
    [("none", "there is no such key log"), ("folder", "is a directory: name the"), ("pipe", "is a pipe: a key log")],
)
def test_a_key_log_that_cannot_be_read_is_said_before_anything_is_written(kind: str, said: str, capture: Path) -> None:
    keylog, out = capture.parent / kind, capture.parent / "out.har"
    (capture.parent / "folder").mkdir()
    os.mkfifo(capture.parent / "pipe")
    with pytest.raises(OperatorError, match=said):
        convert([capture], out, (keylog,), (), (), False)
    with pytest.raises(OperatorError, match=said):
        scan([capture], ScanOptions(capture.parent / "state", keylogs=(keylog,), output=out), PipelineOptions())
    assert not out.exists()


def test_what_reads_twice_refuses_standard_input(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="standard input can be read once: name a file"):
        convert([Path("-")], tmp_path / "out.pcapng", (), (), (), False)
    with pytest.raises(OperatorError, match="standard input can be read once: name a file"):
        scan([Path("-")], ScanOptions(tmp_path, verify=True), PipelineOptions())


@pytest.mark.parametrize(("kind", "said"), [("none", "not found"), ("pipe", "is a pipe: write - and feed it on stand")])
def test_the_only_input_that_cannot_be_read_is_all_that_is_said(
    kind: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=said):
        scan([tmp_path / kind], ScanOptions(tmp_path / "state"), PipelineOptions(activity=False))
    assert capsys.readouterr() == ("", "")
