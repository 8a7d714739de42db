"""`mutewatch ca` at a shell: what it leaves, what it says, and with which exit code."""

import json
import os
import plistlib
import pty
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from certs.authority import Authority
from certs.exports import Format
from certs.leaves import load_leaf, names_of
from certs.names import is_below, permitted_names
from mutewatch.signatures import telemetry_hosts
from tests.live_support import ROOT
from tests.needs import tool

HOSTS = telemetry_hosts()
PASSPHRASE = "correct horse battery"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def ca(state: Path, *words: str | Path, code: int = 0, environment: dict[str, str] | None = None) -> str:
    """Run `mutewatch ca`; return what it printed, on both streams."""
    command = [sys.executable, "-m", "mutewatch", "ca", *map(str, words), "--state", str(state)]
    own = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    told = subprocess.run(command, cwd=state.parent, env=own, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == code, told.stdout + told.stderr
    assert "Traceback" not in told.stderr
    assert "PRIVATE KEY" not in told.stdout + told.stderr
    return told.stdout + told.stderr


def made(
    state: Path, age: timedelta = timedelta(), passphrase: bytes | None = None, hosts: Iterable[str] = HOSTS
) -> Authority:
    """An authority in `state` of this age."""
    state.mkdir(mode=0o700)
    authority = Authority(state / "authority")
    authority.create(hosts, datetime.now(UTC) - age, passphrase)
    return authority


def test_the_commands_of_the_document_run_in_their_order(tmp_path: Path) -> None:
    document = (ROOT / "docs" / "certificates.md").read_text(encoding="utf-8")
    commands = [line[2:] for line in document.splitlines() if line.startswith("$ ")]
    assert len(commands) > 8
    tool("openssl")
    own = {**os.environ, "PYTHONPATH": str(ROOT)}
    for command in commands:
        program, *words = shlex.split(command)
        line = [sys.executable, "-m", "mutewatch", *words] if program == "mutewatch" else [program, *words]
        told = subprocess.run(line, cwd=tmp_path, env=own, capture_output=True, text=True, timeout=240, check=False)
        assert told.returncode == 0, command + told.stdout + told.stderr


def test_init_makes_one_for_the_hosts_of_the_signatures_and_never_a_second(state: Path) -> None:
    said = ca(state, "init")
    assert f"permits {', '.join(permitted_names(HOSTS))} and names below; no addresses" in said
    before = Authority(state / "authority").certificate("root")
    assert "there is an authority in" in ca(state, "init", code=2)
    assert Authority(state / "authority").certificate("root") == before


def test_status_is_for_people_and_for_machines(state: Path) -> None:
    made(state)
    assert re.search(r"root: mutewatch root .*\n  until \d{4}-\d\d-\d\d \(729 days\), key here", ca(state, "status"))
    found = json.loads(ca(state, "status", "--format", "json"))
    assert [one["role"] for one in found["certificates"]] == ["root", "intermediate"]
    assert found["fault"] is None


@pytest.mark.parametrize(
    ("days", "code", "said"),
    [(0, 0, ""), (65, 1, "DUE"), (95, 2, "mutewatch ca renew"), (800, 2, "mutewatch ca rotate")],
)
def test_the_exit_code_of_status_tells_cron_what_to_do(state: Path, days: int, code: int, said: str) -> None:
    made(state, timedelta(days=days))
    assert said in ca(state, "status", code=code)


def test_status_says_which_hosts_an_older_authority_does_not_permit(state: Path) -> None:
    made(state, hosts=("tsa*.webex.com", "locus*.wbx2.com"))
    assert "the authority does not permit 8x8.vc, " in ca(state, "status", code=1)
    assert "tsa3.webex.com is permitted" in ca(state, "verify", "tsa3.webex.com")


def test_status_without_an_authority_says_how_to_make_one(state: Path) -> None:
    assert "mutewatch ca init" in ca(state, "status", code=2)


def test_a_key_that_others_may_read_is_refused(state: Path) -> None:
    authority = made(state)
    authority.key_path("intermediate").chmod(0o640)
    assert f"chmod 600 {authority.key_path('intermediate')}" in ca(state, "status", code=2)
    assert "is open to others" in ca(state, "renew", code=2)


def test_renew_keeps_the_root_and_gives_time(state: Path) -> None:
    authority = made(state, timedelta(days=85))
    before = authority.certificate("root"), authority.certificate("intermediate")
    ca(state, "renew")
    ca(state, "renew", "--new-key")
    after = authority.certificate("root"), authority.certificate("intermediate")
    assert after[0] == before[0]
    assert after[1].not_valid_after_utc > before[1].not_valid_after_utc
    assert after[1].public_key() != before[1].public_key()


def test_without_the_roots_key_renew_says_where_it_belongs(state: Path) -> None:
    authority = made(state)
    authority.key_path("root").unlink()
    assert "put the key back for this" in ca(state, "renew", code=2)


def test_a_rotation_has_two_steps(state: Path) -> None:
    authority = made(state)
    old = authority.certificate("root")
    assert "mutewatch ca rotate --finish" in ca(state, "rotate")
    ca(state, "rotate", code=2)
    assert ca(state, "export", "-o", "both.pem").count("both.pem") > 0
    given = x509.load_pem_x509_certificates((state.parent / "both.pem").read_bytes())
    assert given == [old, authority.certificate("next-root")]
    said = ca(state, "rotate", "--finish")
    assert "from clients" in said
    assert authority.certificate("root") == given[1]
    ca(state, "rotate", "--finish", code=2)


def test_another_host_begins_a_rotation_only_where_it_must(state: Path) -> None:
    authority = made(state)
    assert "permitted already" in ca(state, "add-host", "tsa9.webex.com")
    assert not authority.is_rotating
    assert "example.org" in ca(state, "add-host", "telemetry-*.example.org")
    assert "example.org" in authority.permitted()


@pytest.mark.parametrize("name", ["org", "*", "10.0.0.1", "a b.example.org", "[::1]", "x" * 300, "\u0430pple.com", ""])
def test_what_is_no_host_is_not_added(state: Path, name: str) -> None:
    authority = made(state)
    ca(state, "add-host", name, code=2)
    assert not authority.is_rotating


def test_leaves_are_issued_for_the_signatures_hosts_and_hold_their_own_keys_only(state: Path, tmp_path: Path) -> None:
    authority = made(state)
    said = ca(state, "issue", "--out", tmp_path / "leaves", "--days", "20")
    files = sorted((tmp_path / "leaves").glob("*.pem"))
    assert files
    assert all(str(path) in said for path in files)
    signing = authority.certificate("intermediate").public_key()
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        leaf = load_leaf(path)
        assert leaf.key.public_key() != signing
        assert all(is_below(name.removeprefix("*."), permitted_names(HOSTS)) for name in names_of(leaf.certificate))
    assert x509.load_pem_x509_certificate((tmp_path / "leaves" / "root.crt").read_bytes()) == authority.certificate(
        "root"
    )


def test_no_leaf_is_issued_beyond_the_constraints(state: Path, tmp_path: Path) -> None:
    made(state)
    assert "does not permit www.example.com" in ca(state, "issue", "www.example.com", "--out", tmp_path / "x", code=2)
    assert not list((tmp_path / "x").glob("*.pem"))


def test_check_says_whether_leaves_made_elsewhere_can_be_used(state: Path, tmp_path: Path) -> None:
    made(state)
    leaves = tmp_path / "leaves"
    own = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "MUTEWATCH_CERTIFICATES_LEAF_DIR": str(leaves)}
    command = [sys.executable, "-m", "mutewatch", "check", "--running", "--state", str(tmp_path / "gateway")]

    def check() -> tuple[int, str]:
        told = subprocess.run(command, env=own, capture_output=True, text=True, timeout=120, check=False)
        return told.returncode, told.stdout

    code, said = check()
    assert (code, f"cannot read the leaves in {leaves}: No such file or directory" in said) == (2, True)
    ca(state, "issue", "--out", leaves, "tsa3.webex.com")
    code, said = check()
    assert (code, f"{leaves}: the first of 1 ends on 20" in said) == (0, True)
    (leaves / "tsa3.webex.com.pem").chmod(0o640)
    code, said = check()
    assert (code, "is open to others" in said) == (2, True)


@pytest.mark.parametrize("form", list(Format))
def test_every_export_is_the_root_alone_and_says_how_to_install_and_remove_it(state: Path, form: Format) -> None:
    authority = made(state)
    root = authority.certificate("root")
    said = ca(state, "export", "--format", form.value, "-o", "given")
    given = state.parent / "given"
    assert {"To install: ", "To remove: "} <= set(re.findall(r"^To \w+: ", said, re.MULTILINE))
    assert stat.S_IMODE(given.stat().st_mode) == 0o644
    assert form is not Format.PEM or f"SSL_CERT_FILE={given}," in said
    content = given.read_bytes()
    if form in (Format.DER, Format.GPO):
        assert x509.load_der_x509_certificate(content) == root
    elif form is Format.P12:
        found = load_pkcs12(content, None)
        assert (found.key, found.cert) == (None, None)
        assert [one.certificate for one in found.additional_certs] == [root]
    elif form is Format.MOBILECONFIG:
        payloads = plistlib.loads(content)["PayloadContent"]
        assert [one["PayloadContent"] for one in payloads] == [root.public_bytes(Encoding.DER)]
    else:
        assert x509.load_pem_x509_certificates(content) == [root]
    for path in authority.directory.glob("*-key.pem"):
        secret = b"".join(path.read_bytes().splitlines()[1:-1])
        assert secret[:40] not in content.replace(b"\n", b"")


def test_browsers_on_linux_and_java_take_their_exports(state: Path, tmp_path: Path) -> None:
    made(state)
    for form, program in (("nss", "certutil"), ("java", "keytool")):
        tool(program)
        said = ca(state, "export", "--format", form, "-o", form)
        (line,) = re.findall(r"To install: .*?((?:certutil|keytool) .*)", said)
        line = line.replace("$HOME/.pki/nssdb", str(tmp_path)).replace("-cacerts", f"-keystore {tmp_path / 'store'}")
        if form == "nss":
            subprocess.run([program, "-d", f"sql:{tmp_path}", "-N", "--empty-password"], check=True)
        done = subprocess.run(["sh", "-ec", line], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, line + done.stdout + done.stderr


def test_the_debian_export_is_what_verifies_the_intermediate(state: Path) -> None:
    authority = made(state)
    said = ca(state, "export", "--format", "debian", "-o", "given.crt")
    given = str(state.parent.resolve() / "given.crt")
    assert f"To install: install -m 644 {given} /usr/local/share/ca-certificates/" in said
    command = [
        tool("openssl"),
        "verify",
        "-x509_strict",
        "-CAfile",
        given,
        str(authority.certificate_path("intermediate")),
    ]
    subprocess.run(command, check=True)


def test_verify_tells_by_its_exit_code_whether_all_is_as_it_should_be(state: Path, tmp_path: Path) -> None:
    made(state)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "openssl").symlink_to(shutil.which("openssl") or "/usr/bin/openssl")
    few = {"PATH": str(tmp_path / "bin")}
    assert "every client that is here agrees" in ca(state, "verify", "tsa3.webex.com", environment=few)
    said = ca(state, "verify", "www.example.com", environment=few)
    assert "not permitted; every client that is here agrees" in said
    assert re.search(r"curl +not here +no curl on PATH", said)


def test_a_passphrase_in_a_file_protects_every_key(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.touch(mode=0o600)
    file.write_text(f"{PASSPHRASE}\n")
    said = ca(state, "init", "--passphrase-file", file)
    assert PASSPHRASE not in said
    keys = list((state / "authority").glob("*-key.pem"))
    assert len(keys) == 2
    assert all(b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes() for path in keys)
    assert "give its passphrase with --passphrase-file" in ca(state, "renew", code=2)
    ca(state, "renew", "--passphrase-file", file)
    file.chmod(0o644)
    assert "is open to others" in ca(state, "renew", "--passphrase-file", file, code=2)
    file.chmod(0o600)
    file.write_text("another one entirely\n")
    assert "this is not its passphrase" in ca(state, "renew", "--passphrase-file", file, code=2)


def test_a_credential_of_systemd_is_found_by_itself(state: Path, tmp_path: Path) -> None:
    made(state, passphrase=PASSPHRASE.encode())
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "mutewatch-ca-passphrase").write_text(f"{PASSPHRASE}\n")
    ca(state, "renew", environment={"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})


def test_a_passphrase_is_asked_for_at_a_terminal_only_and_not_shown(state: Path) -> None:
    assert "no terminal to ask" in ca(state, "init", "--ask-passphrase", code=2)
    command = [sys.executable, "-m", "mutewatch", "ca", "init", "--ask-passphrase", "--state", str(state)]
    child, terminal = pty.fork()
    if child == 0:  # in the terminal
        os.environ["PYTHONPATH"] = str(ROOT)
        os.execv(command[0], command)  # noqa: S606  ours
    shown = b""
    for prompt in (b"keys: ", b"Again: "):
        while not shown.endswith(prompt):
            shown += os.read(terminal, 1024)
        os.write(terminal, f"{PASSPHRASE}\n".encode())
    try:
        while data := os.read(terminal, 1024):
            shown += data
    except OSError:  # Linux's way to say that it is closed
        pass
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, shown
    assert PASSPHRASE.encode() not in shown
    Authority(state / "authority").issuer(HOSTS, datetime.now(UTC), PASSPHRASE.encode())
