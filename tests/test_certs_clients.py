"""What real clients say to the gateway's certificates: what docs/certificates.md says that they do."""

import re
from pathlib import Path

import pytest

from bench.certs.matrix import WAYS
from tests.live_support import ROOT

DOCUMENT = (ROOT / "docs" / "certificates.md").read_text(encoding="utf-8")


def documented(title: str) -> dict[str, str]:
    """Return the words of one column of the document's table, by client."""
    rows = [re.split(r" *\| *", line.strip("| ")) for line in DOCUMENT.splitlines() if line.startswith("| ")]
    head = next(row for row in rows if row[0] == "client")
    return {row[0]: row[head.index(title)] for row in rows if len(row) == len(head) and row is not head}


@pytest.mark.live
@pytest.mark.parametrize("title", WAYS)
def test_clients_accept_telemetry_hosts_and_nothing_else(title: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    answers = WAYS[title](tmp_path)
    if not answers:
        pytest.skip("network namespaces are not permitted here")
    asked = {name: answer.accepted for name, answer in answers.items() if answer.accepted is not None}
    assert asked.keys() >= {"openssl s_client, strict", "curl", "Python ssl", "Python ssl, strict"}
    expected = not title.endswith("by a thief")
    assert asked == dict.fromkeys(asked, expected), {name: answers[name].words for name in asked}
    words = documented(title)
    assert asked.keys() <= words.keys()
    assert {words[name] for name in asked} == {"accepted" if expected else "refused"}
