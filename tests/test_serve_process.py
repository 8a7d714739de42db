"""Where `mutewatch serve` listens, and for whom not; the process itself, with TLS and without patience."""

import http.client
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvicorn
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from mutewatch.commands import bounded_http
from mutewatch.commands.serve import ServeOptions, check_reach, new_token, parse_listen, serve
from mutewatch.errors import OperatorError
from mutewatch.report.payload import Role
from mutewatch.serve.tokens import TokenFile
from tests.facts import START
from tests.live_support import wait_until
from tests.serve_process import command, running
from tests.serve_support import finding, record

ALONE = ServeOptions(
    store=Path("none.db"),
    listen="127.0.0.1:0",
    token_file=None,
    hosts=(),
    tls_cert=None,
    tls_key=None,
    is_behind_proxy=False,
    needs_token=True,
    guesses=True,
    poll_seconds=10,
)
TLS: dict[str, Any] = {"tls_cert": Path("c.pem"), "tls_key": Path("k.pem")}
PROXY = {"is_behind_proxy": True}
OPEN = {"needs_token": False}
ANYWHERE = "0.0.0.0"  # noqa: S104 (that is what is refused)


@pytest.mark.parametrize(
    ("host", "tokens", "options", "refusal"),
    [
        ("127.0.0.1", False, {}, None),
        ("127.0.0.1", False, OPEN, None),
        ("127.8.8.8", False, OPEN, None),
        ("::1", False, {}, None),
        ("127.0.0.1", True, TLS, None),
        ("127.0.0.1", True, PROXY, None),
        ("127.0.0.1", False, PROXY, "there are no tokens"),
        ("127.0.0.1", True, PROXY | OPEN, "--no-token is for this machine alone"),
        (ANYWHERE, False, {}, "can be reached from other machines"),
        (ANYWHERE, True, {}, "can be reached from other machines"),
        ("192.0.2.1", True, {}, "can be reached from other machines"),
        ("::", True, {}, "can be reached from other machines"),
        ("2001:db8::1", True, {}, "can be reached from other machines"),
        (ANYWHERE, False, TLS, "there are no tokens"),
        ("192.0.2.1", False, PROXY, "there are no tokens"),
        ("192.0.2.1", True, TLS | OPEN, "--no-token is for this machine alone"),
        ("192.0.2.1", True, TLS, None),
        ("192.0.2.1", True, PROXY, None),
        ("127.0.0.1", True, {"tls_cert": Path("c.pem")}, "belong together"),
        ("192.0.2.1", True, {"tls_key": Path("k.pem")}, "belong together"),
    ],
)
def test_others_are_let_near_only_with_tokens_and_over_tls(
    tmp_path: Path, host: str, tokens: bool, options: dict[str, Any], refusal: str | None
) -> None:
    file = TokenFile(tmp_path / "serve.tokens")
    if tokens:
        file.add(Role.VIEWER, "anna", START)
    if refusal is None:
        check_reach(replace(ALONE, **options), host, file)
    else:
        with pytest.raises(OperatorError, match=refusal):
            check_reach(replace(ALONE, **options), host, file)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("127.0.0.1:8480", ("127.0.0.1", 8480)), ("[::1]:1", ("::1", 1)), ("localhost:0", ("127.0.0.1", 0))],
)
def test_an_address_to_listen_on_is_understood(text: str, parsed: tuple[str, int]) -> None:
    assert parse_listen(text) == parsed


@pytest.mark.parametrize("text", ["", "8480", "127.0.0.1", "example.org:80", "127.0.0.1:x", "127.0.0.1:70000", ":80"])
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(OperatorError, match="--listen"):
        parse_listen(text)


def test_a_token_is_made_and_shown_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state"
    assert new_token(state, None, "analyst", "bob") == 0
    token = capsys.readouterr().out.partition("\n")[0]
    found = TokenFile(state / "serve.tokens").find(token)
    assert found
    assert (found.name, found.role) == ("bob", Role.ANALYST)
    assert token not in (state / "audit.log").read_text() + (state / "serve.tokens").read_text()


def test_a_role_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="write viewer or analyst"):
        new_token(tmp_path / "state", None, "admin", "bob")


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        told = subprocess.run(
            command(tmp_path / "state", "--listen", listen), capture_output=True, text=True, check=False, timeout=60
        )
    assert (told.returncode, told.stderr) == (2, f"mutewatch: --listen {listen}: Address already in use\n")


@pytest.mark.parametrize(
    ("has_token", "options", "said"),
    [
        (False, (), "Open this link; it works once, for whoever has it:"),
        (True, (), "Log in with a token; for one of your own: mutewatch serve --new-token analyst NAME"),
        (False, ("--no-token",), "Anybody on this machine may view."),
    ],
)
def test_the_start_names_the_store_and_the_way_in(
    tmp_path: Path, has_token: bool, options: tuple[str, ...], said: str
) -> None:
    state, store = make_private(tmp_path / "state"), tmp_path / "nosuch.db"
    if has_token:
        TokenFile(state / "serve.tokens").add(Role.VIEWER, "anna", START)
    arguments = command(state, "--listen", "127.0.0.1:0", "--store", str(store), *options)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stderr
            assert process.stdout.readline().endswith(f" until Ctrl-C, from {store}.\n")
            assert process.stdout.readline() == f"{said}\n"
            assert process.stderr.readline() == f"mutewatch: there is no store at {store} yet\n"
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("text.db", "text.db cannot be read now: file is not a database\n"),
        (
            "postgresql://u:secret@127.0.0.1:1/x",
            "postgresql+psycopg://u:***@127.0.0.1:1/x cannot be read now: connection",
        ),
    ],
)
def test_the_terminal_is_told_why_a_store_cannot_be_read(tmp_path: Path, store: str, said: str) -> None:
    state, text = make_private(tmp_path / "state"), tmp_path / "text.db"
    text.write_text("no database, and long enough to be looked at as one would be")
    place = str(text) if store == text.name else store
    with subprocess.Popen(
        command(state, "--listen", "127.0.0.1:0", "--store", place), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr
            told = process.stderr.readline()
            assert said in told and "secret" not in told
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "key.pem").chmod(0o644), "is open to everybody: chmod o="),
        (lambda folder: (folder / "key.pem").unlink(), "No such file"),
        (lambda folder: (folder / "cert.pem").write_text("no certificate"), "--tls-cert"),
        (lambda folder: encrypt(folder / "key.pem"), "has a passphrase"),
    ],
)
def test_a_key_or_certificate_that_will_not_do_is_told(
    tmp_path: Path, damage: Callable[[Path], Any], said: str
) -> None:
    cert, key = issue(tmp_path)
    damage(tmp_path)
    with pytest.raises(OperatorError, match=said):
        serve(tmp_path / "state", replace(ALONE, tls_cert=cert, tls_key=key))


def test_over_tls_it_answers_by_its_name_and_ends_on_a_signal(tmp_path: Path) -> None:
    record(tmp_path / "mutewatch.db", finding(1))
    state = tmp_path / "state"
    token = TokenFile(make_private(state) / "serve.tokens").add(Role.VIEWER, "anna", START)
    cert, key = issue(tmp_path)
    options = ("--store", str(tmp_path / "mutewatch.db"), "--tls-cert", str(cert), "--tls-key", str(key))
    with running(state, *options, "--host", "gateway.example") as server:
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        host, port = server.url.removeprefix("https://").split(":")
        for name, status in (("gateway.example", 200), (host, 200), ("evil.example", 400)):
            connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=20)
            connection.request("GET", "/api/overview", headers={"Host": name, "Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            assert answer.status == status
            assert "server" not in {header.lower() for header in answer.headers}
            connection.close()
    assert server.process.returncode == -15


def test_requests_that_are_too_large_are_refused(tmp_path: Path) -> None:
    with running(tmp_path / "state", "--no-token", "--store", str(tmp_path / "none.db")) as server:
        host, port = server.url.removeprefix("http://").split(":")
        for path, headers, status in (
            (f"/?{'x' * 20_000}", {}, 431),
            ("/", {"X": "x" * 20_000}, 431),
            ("/", {"X": "x" * 500_000}, 400),
            ("/healthz", {"Content-Length": "5000"}, 413),
            ("/healthz", {}, 200),
        ):
            connection = http.client.HTTPConnection(host, int(port), timeout=20)
            connection.request("GET", path, headers=headers)
            assert connection.getresponse().status == status
            connection.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_a_client_that_does_not_finish_its_request_is_not_waited_for(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "LOOK_SECONDS", 0.05)
    config = uvicorn.Config(nothing, port=0, http=bounded_http.BoundedHttp, lifespan="off", log_config=None)
    server, listening = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the server listens")
    with socket.create_connection(listening.getsockname(), timeout=20) as client:
        client.sendall(sent)
        assert client.recv(100) == b""
    server.should_exit = True
    thread.join(20)


async def nothing(_scope: object, _receive: object, _send: object) -> None:
    """An application that is never reached."""


def make_private(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder


def issue(folder: Path) -> tuple[Path, Path]:
    """A certificate for the loopback address and a name, and its key."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    leaf = authority.issue_cert("127.0.0.1", "gateway.example")
    leaf.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    return folder / "cert.pem", folder / "key.pem"


def encrypt(key: Path) -> None:
    known = load_pem_private_key(key.read_bytes(), None)
    how = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    key.write_bytes(known.private_bytes(*how))
