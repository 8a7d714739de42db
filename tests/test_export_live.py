"""The export as it runs: a real proxy, real rotation, a real kill. What the store knows is in the files, whole."""

import contextlib
import grp
import gzip
import itertools
import json
import os
import pwd
import random
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from addons.export_files import ExportSettings
from addons.launch import addon_path
from bench.faults import kill_live
from mutewatch.store import Store
from tests.live_support import ROOT, TELEMETRY, Proxy, Scene, wait_until
from tests.needs import tool
from tests.test_sinks_siem import VALIDATOR

pytestmark = pytest.mark.live

SNIPPET = ROOT / "docs" / "integrations" / "logrotate" / "mutewatch"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "log"
    made.mkdir()
    return made


@contextlib.contextmanager
def exporting(live: Scene, folder: Path, **choices: Any) -> Iterator[Proxy]:
    """A gateway for which everybody is muted, with both files in `folder`."""
    exports = ExportSettings(folder / "eve.json", folder / "ecs.json", mode=0o640)
    settings = {"activity": False, "assume": "muted", "exports": exports}
    with live.proxy(script=addon_path(), live=settings, **choices) as proxy:
        yield proxy


def send(proxy: Proxy, client: int, numbers: Iterable[int]) -> None:
    """One call of one minute for each number, on one connection."""
    connection = proxy.connect(TELEMETRY)
    with contextlib.closing(connection):
        for number in numbers:
            connection.request("POST", kill_live.PATH, kill_live.telemetry_body(client, number, seed=1))
            connection.getresponse().read()


def eve_events(folder: Path) -> list[dict[str, Any]]:
    """Every line of every file, whatever rotation named it or made of it."""
    contents = [(file.suffix == ".gz", file.read_bytes()) for file in sorted(folder.glob("eve*"))]
    texts = [gzip.decompress(content) if is_packed else content for is_packed, content in contents]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def ids(events: list[dict[str, Any]]) -> set[str]:
    return {event["alert"]["context"]["mutewatch"]["event_id"] for event in events}


def flagged(proxy: Proxy) -> int:
    with Store(proxy.state / kill_live.STORE) as store:
        return store.verdicts().get("flagged", 0)


def test_rotation_under_load_loses_and_spoils_nothing(live: Scene, folder: Path) -> None:
    eve = folder / "eve.json"
    rotated = threading.Event()
    sent: list[int] = []

    def numbers() -> Iterator[int]:
        for number in itertools.takewhile(lambda number: number < 40 or not rotated.is_set(), itertools.count()):
            sent.append(number)
            yield number

    with exporting(live, folder) as proxy:
        senders = [threading.Thread(target=send, args=(proxy, client, numbers()), daemon=True) for client in range(3)]
        for sender in senders:
            sender.start()
        for number in range(3):
            wait_until(lambda: eve.exists() and eve.stat().st_size > 0, "lines come")
            eve.rename(folder / f"eve.json.{number}")
            if number % 2:  # logrotate's `create`
                eve.touch()
            proxy.process.send_signal(signal.SIGHUP)
        rotated.set()
        for sender in senders:
            sender.join(60)
        proxy.wait_status(recorded=len(sent), export_errors=0)
        assert proxy.stop() == 0
    events = eve_events(folder)
    assert len(events) == len(ids(events)) == flagged(proxy) == len(sent)
    for event in events:
        VALIDATOR.validate(event)
    assert len((folder / "ecs.json").read_text().splitlines()) == len(sent)
    assert len(list(folder.glob("eve*"))) >= 3


def test_logrotate_rotates_as_the_snippet_says(live: Scene, folder: Path, tmp_path: Path) -> None:
    logrotate = tool("logrotate")
    user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    snippet = (
        SNIPPET.read_text().replace("/var/log/mutewatch", str(folder)).replace("su root adm", f"su {user} {group}")
    )
    config = tmp_path / "logrotate.conf"
    config.write_text(snippet)
    config.chmod(0o600)
    with exporting(live, folder) as proxy:
        for round_ in range(3):
            send(proxy, 1, range(round_ * 5, round_ * 5 + 5))
            wait_until(lambda: len(ids(eve_events(folder))) == flagged(proxy), "all of it is exported")
            command = [logrotate, "--force", "--state", str(tmp_path / "logrotate.state"), str(config)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert not (folder / "eve.json").exists()
        assert proxy.stop() == 0
    assert len(ids(eve_events(folder))) == flagged(proxy) == 15
    assert {path.name for path in folder.glob("eve*")} == {"eve.json.1", "eve.json.2.gz", "eve.json.3.gz"}


def test_a_killed_gateway_exports_the_rest_when_it_is_started_again(live: Scene, folder: Path) -> None:
    chance = random.Random(7)
    total = 0
    with exporting(live, folder) as proxy:
        for round_ in range(2):
            sent = range(total, total + 10 + chance.randrange(20))
            total = sent.stop
            send(proxy, 1, sent)
            if round_:
                wait_until(lambda: bool(eve_events(folder)), "something is exported")
            proxy.stop(signal.SIGKILL)
            proxy.start()
            proxy.wait_ready(60)
        wait_until(lambda: len(ids(eve_events(folder))) == flagged(proxy), "all of it is exported")
        assert proxy.stop() == 0
    assert len(ids(eve_events(folder))) == flagged(proxy) == total


def test_a_folder_that_is_missing_is_counted_and_stops_nothing(live: Scene, folder: Path) -> None:
    folder.rmdir()
    proxy = live.make()
    proxy.start_command(
        f'[clients]\nassume = "muted"\nactivity = false\n[export]\neve_file = "{folder}/eve.json"\nmode = "0640"\n'
    )
    try:
        proxy.wait_ready()
        send(proxy, 1, range(3))
        wait_until(lambda: proxy.status().get("export_errors", 0) >= 2, "it is counted, and tried again")
        assert (proxy.status()["unrecorded"], proxy.status()["record_failures"]) == (0, 0)
        assert flagged(proxy) == 3
        assert "flagged minutes could not be exported" in proxy.text()
        folder.mkdir()
        wait_until(lambda: len(ids(eve_events(folder))) == 3, "what waited is exported")
        assert proxy.stop() == 0
    finally:
        proxy.end()
    assert list(folder.iterdir()) == [folder / "eve.json"]
    assert (folder / "eve.json").stat().st_mode & 0o777 == 0o640
