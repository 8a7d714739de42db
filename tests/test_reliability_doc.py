"""docs/reliability.md names every limit with the number that the code has."""

import re
from dataclasses import asdict
from typing import Any

import pytest

from addons.committer import WriterLimits
from mutewatch.limits import DEFAULT_LIMITS
from tests.live_support import ROOT

ROWS = dict(
    re.findall(
        r"^\| `(\w+)` \| ([\d,.]+(?: [KM]iB)?)",
        (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
)
UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20}
LIMITS: dict[str, Any] = asdict(WriterLimits()) | asdict(DEFAULT_LIMITS)


@pytest.mark.parametrize("name", LIMITS)
def test_each_limit_is_in_the_document_as_it_is_in_the_code(name: str) -> None:
    number, _, unit = ROWS[name].partition(" ")
    assert float(number.replace(",", "")) * UNITS[unit] == LIMITS[name]
