"""A linter of others finds nothing in our certificates: pkilint, by RFC 5280."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import Authority
from certs.leaves import MintedLeaves
from certs.profile import KeyKind

HOSTS = ("tsa*.webex.com", "metrics.wbx2.com")


@pytest.fixture(scope="module", params=list(KeyKind))
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every kind of certificate that there is."""
    folder, now = tmp_path_factory.mktemp("lint"), datetime.now(UTC)
    authority = Authority(folder / "authority")
    authority.create(HOSTS, now, root_key=request.param)
    authority.begin_rotation(now, more_hosts=["metrics.example.org"])
    found = {role: authority.certificate_path(role) for role in ("root", "intermediate", "next-root")}
    leaves = MintedLeaves(authority.issuer(HOSTS, now))
    for name, host in {"leaf": "tsa3.webex.com", "leaf of a long name": f"{'a' * 60}.webex.com"}.items():
        found[name] = folder / f"{name}.pem"
        found[name].write_bytes(leaves.leaf(host, now).certificate.public_bytes(Encoding.PEM))
    return found


def findings(program: str, *words: Path | str) -> str:
    """What a program of pkilint finds, from a notice on."""
    path = Path(sys.executable).with_name(program)
    if not path.exists():
        pytest.skip("pkilint is not installed")
    command = [str(path), "lint", "-s", "NOTICE", *map(str, words)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in told.stderr, told.stderr
    return told.stdout.strip()


def test_no_certificate_has_a_fault(files: dict[str, Path]) -> None:
    assert {name: findings("lint_pkix_cert", path) for name, path in files.items()} == dict.fromkeys(files, "")


def test_no_chain_has_a_fault(files: dict[str, Path]) -> None:
    for issuer, subject in (("root", "intermediate"), ("intermediate", "leaf")):
        assert findings("lint_pkix_signer_signee_cert_chain", files[issuer], files[subject]) == ""


def test_the_linter_finds_what_is_wrong(files: dict[str, Path]) -> None:
    assert findings("lint_pkix_signer_signee_cert_chain", files["next-root"], files["leaf"]) != ""
