"""Asks tshark for a second opinion on the flows that were opened: do the bodies of requests have the same hashes?

tshark reads the packets of these flows only, carved out of the capture, so that it takes seconds.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mutewatch.errors import InputError, OperatorError
from mutewatch.flow_records import Flow
from mutewatch.ports import ReadOptions
from pcap_tools.carve import carve, flow_keys
from pcap_tools.limits import DEFAULT_READ_LIMITS, ReadLimits
from pcap_tools.tshark import TsharkReader


@dataclass(frozen=True, slots=True)
class Opinion:
    """How many bodies both read alike, and how many only one of the two."""

    both: int
    only_here: int
    only_tshark: int
    error: str | None = None

    @property
    def is_doubt(self) -> bool:
        """May something have been missed here, or could tshark not say?"""
        return bool(self.only_tshark or self.error)

    def __str__(self) -> str:
        told = f"tshark reads the same {self.both} bodies"
        if self.only_here:
            told += f"; {self.only_here} it does not find"
        if self.only_tshark:
            told += f"; {self.only_tshark} ONLY tshark finds: please report this"
        return told + (f" ({self.error})" if self.error else "")


def second_opinion(
    paths: Sequence[Path],
    flows: Sequence[Flow],
    bodies: Counter[bytes],
    options: ReadOptions,
    limits: ReadLimits = DEFAULT_READ_LIMITS,
) -> Opinion:
    """Compare `bodies` of requests (SHA-256, as often as each was read from `flows`) with what tshark reads.

    Raises OperatorError if tshark is not installed.
    """
    if shutil.which("tshark") is None:
        raise OperatorError("--verify needs tshark: install it (Debian: apt install tshark)")
    theirs: Counter[bytes] = Counter()
    error = None
    with tempfile.NamedTemporaryFile(prefix="mutewatch-", suffix=".pcapng") as file:  # mode 0600
        carve(paths, flow_keys(flows), options.keylogs, file, limits)
        file.flush()
        try:
            for exchange in TsharkReader(limits).read(Path(file.name), options):
                if exchange.method and exchange.body:
                    theirs[sha256(exchange.body).digest()] += 1
        except InputError as fault:
            error = str(fault)
    both = (bodies & theirs).total()
    return Opinion(both, bodies.total() - both, theirs.total() - both, error)
