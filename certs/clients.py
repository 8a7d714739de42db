"""Asks the TLS clients on this machine what they say to a certificate of an authority.

A server on the loopback shows a leaf for one host, and each client is told to trust the authority's root and nothing
else. A leaf for a host that is not permitted is signed by an authority of the same form with keys of its own: the
real key never signs outside its constraints.
"""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import Authority
from certs.keys import key_pem, write_private
from certs.leaves import Leaf
from certs.names import is_below
from certs.profile import Signer, make_intermediate, make_leaf, make_root, new_key

SECONDS: Final = 60  # for one client
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\naccepted"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one client said; `accepted` is None if it is not on this machine."""

    client: str
    accepted: bool | None
    words: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What a client is to try: `host`, at the address `server`, trusting `root` alone."""

    host: str
    port: int
    root: Path
    folder: Path  # for what it needs
    server: str = "127.0.0.1"


def ask_clients(authority: Authority, issuer: Signer, host: str, now: datetime) -> Iterator[Answer]:
    """Yield what each client says to a certificate for `host`."""
    with tempfile.TemporaryDirectory(prefix="mutewatch-verify-") as name:
        folder = Path(name)
        if is_below(host, issuer.permitted):
            root, key = authority.certificate("root"), new_key()
            leaf = Leaf(make_leaf(key.public_key(), issuer, host, now), key, (issuer.certificate,))
        else:
            root, leaf = twin(issuer.permitted, host, now)
        write_private(folder / "root.pem", root.public_bytes(Encoding.PEM))
        with served(leaf, folder) as port:
            yield from ask(Trial(host, port, folder / "root.pem", folder))


def ask(trial: Trial) -> Iterator[Answer]:
    """Yield what each client says."""
    for client, program, run in CLIENTS:
        if program and shutil.which(program) is None:
            yield Answer(client, None, f"no {program} on PATH")
            continue
        try:
            yield Answer(client, *run(trial))
        except (OSError, subprocess.SubprocessError) as error:
            yield Answer(client, None, f"could not be asked: {type(error).__name__}")


def twin(permitted: tuple[str, ...], host: str, now: datetime) -> tuple[x509.Certificate, Leaf]:
    """Return the root of an authority of the same form, of new keys, and a leaf that it signed though it must not."""
    root_key, key = new_key(), new_key()
    root = Signer(make_root(root_key, permitted, now, "mutewatch twin root"), root_key)
    intermediate = make_intermediate(key.public_key(), root, permitted, now, "mutewatch twin")
    honest = make_leaf(key.public_key(), Signer(intermediate, key), f"honest.{permitted[0]}", now)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(honest.issuer)
        .public_key(key.public_key())
        .serial_number(honest.serial_number)
        .not_valid_before(honest.not_valid_before_utc)
        .not_valid_after(honest.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=True)
    )
    for extension in honest.extensions:
        if not isinstance(extension.value, x509.SubjectAlternativeName):
            builder = builder.add_extension(extension.value, extension.critical)
    return root.certificate, Leaf(builder.sign(key, SHA256()), key, (intermediate,))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@contextlib.contextmanager
def served(leaf: Leaf, folder: Path) -> Iterator[int]:
    """A server on the loopback that shows `leaf`; gives its port."""
    pem = folder / "leaf.pem"
    parts = [one.public_bytes(Encoding.PEM) for one in (leaf.certificate, *leaf.chain)]
    write_private(pem, b"".join([key_pem(leaf.key, None), *parts]))
    with serve_with(pem) as port:
        yield port


@contextlib.contextmanager
def serve_with(pem: Path) -> Iterator[int]:
    """A server on the loopback with the key and the certificates in `pem`; gives its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, context), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection, context), daemon=True).start()


def _answer(connection: socket.socket, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError), connection:
        connection.settimeout(SECONDS)
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(65536)
            secure.sendall(ANSWER)


Outcome = tuple[bool | None, str]


def _openssl(trial: Trial) -> Outcome:
    where = ["-connect", f"{trial.server}:{trial.port}", "-servername", trial.host]
    name = ["-verify_ip" if _is_address(trial.host) else "-verify_hostname", trial.host]
    done = _run(["openssl", "s_client", *where, *name, "-CAfile", trial.root, "-x509_strict", "-verify_return_error"])
    return _outcome(done, done.returncode == 0, "Verification error")


def _curl(trial: Trial) -> Outcome:
    way = [] if _is_address(trial.host) else ["--resolve", f"{trial.host}:{trial.port}:{trial.server}"]
    done = _run(["curl", "-sS", "--noproxy", "*", "--cacert", trial.root, *way, f"https://{trial.host}:{trial.port}/"])
    return _outcome(done, done.returncode == 0, "SSL")


def _python(trial: Trial, flags: int = 0) -> Outcome:
    context = ssl.create_default_context(cafile=trial.root)
    context.verify_flags |= flags
    try:
        with (
            socket.create_connection((trial.server, trial.port), timeout=SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=trial.host),
        ):
            return True, ""
    except ssl.SSLCertVerificationError as error:
        return False, error.verify_message


def _python_strict(trial: Trial) -> Outcome:
    return _python(trial, ssl.VERIFY_X509_STRICT)


def _node(trial: Trial) -> Outcome:
    script = (
        "const [host, port, server] = process.argv.slice(1);"
        "require('tls').connect({host: server, port, servername: require('net').isIP(host) ? '' : host,"
        " checkServerIdentity: (_, cert) => require('tls').checkServerIdentity(host, cert)})"
        ".on('secureConnect', () => { console.log('accepted'); process.exit(0) })"
        ".on('error', error => { console.log(error.code); process.exit(1) })"
    )
    done = _run(
        ["node", "-e", script, trial.host, str(trial.port), trial.server], {"NODE_EXTRA_CA_CERTS": str(trial.root)}
    )
    return _outcome(done, done.returncode == 0, "CERT", "UNSPECIFIED", "_ISSUER_", "_SIGNED_")


def _gnutls(trial: Trial) -> Outcome:
    name = [f"--verify-hostname={trial.host}"] + ([] if _is_address(trial.host) else [f"--sni-hostname={trial.host}"])
    where = ["--port", str(trial.port), trial.server]
    done = _run(["gnutls-cli", f"--x509cafile={trial.root}", *name, *where])
    return _outcome(done, done.returncode == 0, "NOT trusted")


def _java(trial: Trial) -> Outcome:
    store = trial.folder / "trust.p12"
    secret = ["-storepass", "changeit"]
    if not store.exists():
        _run(["keytool", "-importcert", "-noprompt", "-alias", "r", "-file", trial.root, "-keystore", store, *secret])
    source = trial.folder / "Client.java"
    source.write_text(JAVA_CLIENT)
    trust = [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit"]
    done = _run(["java", *trust, source, trial.host, str(trial.port), trial.server])
    return _outcome(done, done.returncode == 0, "check failed", "path", "certificate", "No name matching")


JAVA_CLIENT: Final = """
import java.net.Socket;
import javax.net.ssl.*;

public class Client {
    public static void main(String[] words) throws Exception {
        int port = Integer.parseInt(words[1]);
        SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
        SSLSocket socket = (SSLSocket) factory.createSocket(new Socket(words[2], port), words[0], port, true);
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        socket.setSSLParameters(parameters);
        try {
            socket.startHandshake();
            System.out.println("accepted");
        } catch (SSLException error) {
            Throwable cause = error;
            while (cause.getCause() != null) cause = cause.getCause();
            System.out.println(cause.getMessage());
            System.exit(1);
        }
    }
}
"""


def _chromium(trial: Trial) -> Outcome:
    if shutil.which("certutil") is None:
        return None, "no certutil on PATH (libnss3-tools)"
    home = trial.folder / "home"
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True, exist_ok=True)
    _run(["certutil", "-d", f"sql:{database}", "-N", "--empty-password"])
    _run(["certutil", "-d", f"sql:{database}", "-A", "-t", "C,,", "-n", "root", "-i", trial.root])
    quiet = [
        "--headless",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-sandbox",
        f"--user-data-dir={home / 'profile'}",
    ]
    way = f"--host-resolver-rules=MAP {trial.host} {trial.server}"
    page = f"https://{trial.host}:{trial.port}/"
    done = _run(["chromium", *quiet, way, "--dump-dom", page], {"HOME": str(home)})
    return _outcome(done, "accepted" in done.stdout, "ERR_CERT_")


CLIENTS: Final[tuple[tuple[str, str, Callable[[Trial], Outcome]], ...]] = (
    ("openssl s_client, strict", "openssl", _openssl),
    ("curl", "curl", _curl),
    ("Python ssl", "", _python),
    ("Python ssl, strict", "", _python_strict),
    ("GnuTLS", "gnutls-cli", _gnutls),
    ("Node.js", "node", _node),
    ("Java", "java", _java),
    ("Chromium", "chromium", _chromium),
)


def _run(command: list[str | Path], environment: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )


def _outcome(done: "subprocess.CompletedProcess[str]", accepted: bool, *refusals: str) -> Outcome:
    """Accepted; or refused, in a line with one of `refusals`; or neither: then it has not been asked."""
    if accepted:
        return True, ""
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    found = next((line for line in lines if any(word in line for word in refusals)), None)
    if found is None:
        return None, f"could not be asked: {lines[-1][:80] if lines else f'exit code {done.returncode}'}"
    return False, found[-80:]


def _is_address(host: str) -> bool:
    return isinstance(_general_name(host), x509.IPAddress)
