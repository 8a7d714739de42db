"""The test captures themselves: tshark finds in the sound ones what they claim to hold, and never more."""

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.captures.capture import Capture
from tests.captures.oracle import tshark_bodies
from tests.captures.variants import VARIANTS
from tests.test_pcap_tools_pcap import read


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_can_be_made(name: str, tmp_path: Path) -> None:
    made = VARIANTS[name]()
    paths, keylog = made.write(tmp_path)
    assert [path.read_bytes() for path in paths] == [data for _, data in made.files]
    assert (keylog is None) == (not made.keylog)
    assert 0 <= made.least <= len(set(made.bodies)) == len(made.bodies)


Answers = dict[str, Future[tuple[Capture, set[bytes]]]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    """What tshark finds in each variant, being worked out on all processors."""

    def ask(name: str) -> tuple[Capture, set[bytes]]:
        made = VARIANTS[name]()
        paths, keylog = made.write(tmp_path_factory.mktemp(name))
        return made, {body for path in paths for body in tshark_bodies(path, keylog)}

    pool = ThreadPoolExecutor(os.cpu_count())
    yield {name: pool.submit(ask, name) for name in VARIANTS}
    pool.shutdown(cancel_futures=True)


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
@pytest.mark.parametrize("name", VARIANTS)
def test_tshark_finds_the_bodies(name: str, answers: Answers) -> None:
    made, found = answers[name].result()
    count = len(found & set(made.bodies))
    assert count == len(made.bodies) if made.whole else count <= made.least


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
@pytest.mark.parametrize("name", VARIANTS)
def test_the_engine_finds_all_that_tshark_finds(name: str, answers: Answers, tmp_path: Path) -> None:
    made, found = answers[name].result()
    assert found & set(made.bodies) <= set(read(made, tmp_path).sent)


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
@pytest.mark.parametrize("name", ["pcap_nano_be", "pcapng_sections", "pcapng_options", "qinq", "fragments_v6"])
def test_wiresharks_tools_accept_the_file(name: str, tmp_path: Path) -> None:
    (path,), _ = VARIANTS[name]().write(tmp_path)
    done = subprocess.run(["capinfos", "-c", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
