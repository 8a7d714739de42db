"""What the TLS clients on this machine say to the certificates of the gateway, as a table for docs/certificates.md.

    python -m bench.certs.matrix

Each client trusts the gateway's root and nothing else. Through the running proxy it comes to a telemetry host: by
CONNECT, in transparent mode (in network namespaces, as root or where users may make them), and with leaves that were
made elsewhere. Then it is shown what a thief of such an authority's keys would show: certificates for other hosts.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from addons.firewall_rules import firewall_rules
from addons.settings import Listen, Settings
from bench.certs.doors import led_through, stage
from certs.authority import Authority
from certs.clients import Answer, Trial, ask, served, twin
from certs.keys import write_private
from certs.leaves import issue
from mutewatch.signatures import telemetry_hosts

TELEMETRY = "tsa3.webex.com"
OTHERS = ("www.example.com", "webex.com.example.net", "127.0.0.1")
Column = Mapping[str, Answer]  # by client


def by_client(answers: Iterator[Answer]) -> Column:
    return {answer.client: answer for answer in answers}


def explicit(folder: Path, leaf_dir: Path | None = None) -> Column:
    """Through the proxy by CONNECT."""
    with stage(folder, leaf_dir) as proxy, led_through(proxy.port, TELEMETRY) as port:
        root = leaf_dir / "root.crt" if leaf_dir else proxy.ca_file
        return by_client(ask(Trial(TELEMETRY, port, root, folder)))


def offline(folder: Path) -> Column:
    """The same, where the gateway has leaves that were made elsewhere."""
    now = datetime.now(UTC)
    elsewhere, leaves = Authority(folder / "elsewhere"), folder / "leaves"
    elsewhere.create(telemetry_hosts(), now)
    issue(elsewhere.issuer(telemetry_hosts(), now), elsewhere.certificate("root"), [TELEMETRY], leaves, now, 30)
    shutil.rmtree(elsewhere.directory)
    return explicit(folder, leaves)


def transparent(folder: Path) -> Column:
    """Redirected by nftables, in network namespaces. Nothing where that is not permitted."""
    unshare = ["unshare", "-rn"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        return {}
    (folder / "rules.nft").write_text(firewall_rules(Settings(listen=Listen(host="", mode="transparent"))))
    proxy = [sys.executable, "-m", "mutewatch", "live", "--mode", "transparent", "--listen-host="]
    proxy += ["--state", str(folder / "state")]
    proxy += ["--set", f"ssl_verify_upstream_trusted_ca={folder}/upstream-ca.pem"]
    scene = [*unshare, sys.executable, "-m", "tests.transparent_scene", "ask", str(folder), str(folder / "rules.nft")]
    root = Path(__file__).resolve().parents[2]
    told = subprocess.run([*scene, *proxy], cwd=root, capture_output=True, text=True, timeout=300, check=False)
    if told.returncode:
        raise RuntimeError(told.stderr)
    found = json.loads(next(line for line in told.stdout.splitlines() if line.startswith("[{")))
    return by_client(Answer(**one) for one in found)


def stolen(host: str, folder: Path) -> Column:
    """A certificate for `host`, signed with the keys of such an authority."""
    permitted = ("webex.com", "wbx2.com")
    root, leaf = twin(permitted, host, datetime.now(UTC))
    write_private(folder / "root.pem", root.public_bytes(Encoding.PEM))
    with served(leaf, folder) as port:
        return by_client(ask(Trial(host, port, folder / "root.pem", folder)))


WAYS: Mapping[str, Callable[[Path], Column]] = {
    f"{TELEMETRY}, by CONNECT": explicit,
    "the same, leaves made elsewhere": offline,
    "the same, transparent": transparent,
    **{f"{host}, by a thief": partial(stolen, host) for host in OTHERS},
}


def table(found: Mapping[str, Column]) -> Iterator[str]:
    """Yield the lines of the table; clients that are not here have none."""
    yield f"| client | {' | '.join(found)} |"
    yield f"|---|{'---|' * len(found)}"
    clients = dict.fromkeys(client for column in found.values() for client in column)
    for client in clients:
        words = [_word(column.get(client)) for column in found.values()]
        if any(words):
            yield f"| {client} | {' | '.join(word or 'not asked' for word in words)} |"


def _word(answer: Answer | None) -> str:
    if answer is None or answer.accepted is None:
        return ""
    return "accepted" if answer.accepted else "refused"


def main() -> int:
    found = {}
    for title, measure in WAYS.items():
        with tempfile.TemporaryDirectory(prefix="mutewatch-matrix-") as name:
            found[title] = measure(Path(name))
        for answer in found[title].values():
            print(f"{title}: {answer.client}: {answer.accepted} {answer.words}", file=sys.stderr)
    print("\n".join(table(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
