"""The test captures themselves: tshark finds in the sound ones what they claim to hold."""

import subprocess
from pathlib import Path

import pytest

from tests.captures.oracle import tshark_bodies
from tests.captures.variants import VARIANTS


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_can_be_made(name: str, tmp_path: Path) -> None:
    made = VARIANTS[name]()
    paths, keylog = made.write(tmp_path)
    assert [path.read_bytes() for path in paths] == [data for _, data in made.files]
    assert (keylog is None) == (not made.keylog)
    assert 0 <= made.least <= len(set(made.bodies)) == len(made.bodies)


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
@pytest.mark.parametrize("name", VARIANTS)
def test_tshark_finds_the_bodies(name: str, tmp_path: Path) -> None:
    made = VARIANTS[name]()
    if not made.whole:
        pytest.skip("tshark misses some")
    (path,), keylog = made.write(tmp_path)
    assert set(made.bodies) <= set(tshark_bodies(path, keylog))


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
@pytest.mark.parametrize("name", ["pcap_nano_be", "pcapng_sections", "pcapng_options", "qinq", "fragments_v6"])
def test_wiresharks_tools_accept_the_file(name: str, tmp_path: Path) -> None:
    (path,), _ = VARIANTS[name]().write(tmp_path)
    done = subprocess.run(["capinfos", "-c", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
