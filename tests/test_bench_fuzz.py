"""The fuzz targets on their seeds, and on mutations of them that are always the same."""

import random
from itertools import islice

import pytest

from bench.fuzz.mutate import mutations
from bench.fuzz.script import Kind, step, steps
from bench.fuzz.seeds import seeds
from bench.fuzz.targets import TARGETS
from pcap_tools.stream import Side


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_and_their_mutations_keep_every_promise(target: str) -> None:
    made = list(seeds(target).values())
    assert len(made) > 20
    for data in (*made, *islice(mutations(made, random.Random(1)), 100)):
        TARGETS[target](data)


def test_a_script_says_what_was_written() -> None:
    script = step(Kind.DATA, Side.SERVER, b"first", 3) + step(Kind.SMALL, Side.CLIENT, b"pieces", 1)
    first, small = steps(script)
    assert (first.side, first.option, first.data) == (Side.SERVER, 3, b"first")
    assert [piece.data for piece in small.pieces] == [b"pi", b"ec", b"es"]  # type: ignore[union-attr]
