"""Our certificates, put where mitmproxy looks for them: what is shown to a client of an opened host.

mitmproxy signs leaves with whatever CA is in its confdir. That CA may sign for any host, so the one there is a
throw-away that no client knows; the authority that clients trust stays with `certs/`, and only leaves, with a key
that signs nothing, are handed over. Between two looks at the disk nothing here touches a file.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from mitmproxy import certs as mitmproxy_certs
from mitmproxy import ctx

from addons.recorder import LiveSettings
from certs.authority import Authority
from certs.keys import make_directory, write_private
from certs.leaves import MOST, Leaf, LeafDirectory, Leaves, MintedLeaves
from certs.names import CertificateError
from certs.passphrase import known_passphrase
from mutewatch.config import StateDirectory

logger = logging.getLogger("mutewatch.live")

LOOK_SECONDS = 60  # between two looks at the files
RENEW_SECONDS = 3600  # between two tries to renew the intermediate


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is in use."""

    leaves: Leaves
    expirations: Mapping[str, datetime]  # by the certificate's role


class LeafSource:
    """Hands leaves to mitmproxy. All methods are for the event loop, but `look`, which may be called on any thread."""

    def __init__(self, settings: LiveSettings, hosts: Iterable[str]) -> None:
        """Open the directory of leaves, or else the authority, made if there is none. CertificateError.

        `hosts`: patterns of all that may be opened.
        """
        self._settings, self._hosts = settings, tuple(hosts)
        self._authority = Authority(StateDirectory(settings.state).authority)
        self._renew_at = 0.0  # monotonic
        self._seen: object = None  # what the files were when they were last read
        self._given: OrderedDict[str, tuple[Leaf, mitmproxy_certs.CertStoreEntry]] = OrderedDict()
        self._opened = self._open(datetime.now(UTC))

    def use(self, hosts: Iterable[str]) -> None:
        """From now on, these may be opened: the next look says which of them the authority does not permit."""
        self._hosts, self._seen = tuple(hosts), None

    @property
    def expirations(self) -> Mapping[str, datetime]:
        """When what is in use ends, by role: root, intermediate; or leaves, where they were made elsewhere."""
        return self._opened.expirations

    def provide(self, name: str) -> None:
        """Have mitmproxy show our leaf for `name`, as the client wrote it. CertificateError if there is none."""
        try:
            leaf = self._opened.leaves.leaf(name, datetime.now(UTC))
        except CertificateError:
            self._given.pop(name, None)
            raise
        if not self.has_given(name) or self._given[name][0] is not leaf:
            self._give(name, leaf)
        self._given.move_to_end(name)

    def has_given(self, name: str) -> bool:
        """Does mitmproxy have a leaf of ours for `name`? It forgets them when its own options change."""
        known = self._given.get(name)
        return known is not None and _shown().get(name) is known[1]

    def _give(self, name: str, leaf: Leaf) -> None:
        chain = [mitmproxy_certs.Cert(one) for one in leaf.chain]
        entry = mitmproxy_certs.CertStoreEntry(
            mitmproxy_certs.Cert(leaf.certificate),
            leaf.key,  # type: ignore[arg-type]  # declared as RSA; passed to OpenSSL, which takes both
            self._chain_file(leaf),
            chain,
        )
        _shown()[name] = entry
        self._given[name] = (leaf, entry)
        if len(self._given) > MOST:  # the spelling of a name is the client's to choose
            stalest, _ = self._given.popitem(last=False)
            _shown().pop(stalest, None)

    def _chain_file(self, leaf: Leaf) -> Path | None:
        """Where what is sent after the leaf is kept: OpenSSL reads it from a file, once for each path."""
        if not leaf.chain:
            return None
        return self._chains / f"chain-{leaf.chain[0].fingerprint(SHA256()).hex()[:32]}.pem"

    @property
    def _chains(self) -> Path:
        return StateDirectory(self._settings.state).proxy_authority

    async def watch(self) -> None:
        """Look at the files again and again, on a thread: they may be on a disk that hangs."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take up what was renewed or replaced. What cannot be used is said once, and what was in use stays."""
        try:
            self._renew_if_due(datetime.now(UTC))
            if self._stamp() != self._seen:
                self._opened = self._open(datetime.now(UTC))
                logger.warning("mutewatch: certificates were read again")
        except (CertificateError, OSError) as error:
            logger.warning("mutewatch: certificates were read again and not taken, the old ones stay: %s", error)
        except Exception:  # our own fault: said aloud, and the next look comes
            logger.exception("mutewatch: fault while looking at certificates")

    def _open(self, now: datetime) -> _Opened:
        self._seen = self._stamp()
        if self._settings.leaf_dir is not None:
            directory = LeafDirectory(self._settings.leaf_dir, now)
            self._keep_chains(directory.all())
            return _Opened(directory, {"leaves": directory.expires_at()})
        passphrase = known_passphrase(self._settings.passphrase_file)
        if not self._authority.exists:
            self._authority.create(self._hosts, now, passphrase)
        self._renew_if_due(now)
        issuer = self._authority.issuer(None, now, passphrase)
        try:
            self._authority.check_permits(self._hosts)
        except CertificateError as error:  # a version that knows more hosts must not stop a gateway that runs
            logger.warning("mutewatch: some telemetry hosts cannot be looked into, and count as such: %s", error)
        leaves = MintedLeaves(issuer)
        root = self._authority.certificate("root")
        ends = {"root": root.not_valid_after_utc, "intermediate": issuer.certificate.not_valid_after_utc}
        self._keep_chains([leaves.leaf(issuer.permitted[0], now)])
        self._seen = self._stamp()
        return _Opened(leaves, ends)

    def _renew_if_due(self, now: datetime) -> None:
        """Renew the intermediate if it ends soon, and the root's key is here; that failing, try again in an hour."""
        if self._settings.leaf_dir is not None or time.monotonic() < self._renew_at:
            return
        if not self._authority.can_renew(now):
            return
        self._renew_at = time.monotonic() + RENEW_SECONDS
        try:
            self._authority.renew(now, known_passphrase(self._settings.passphrase_file))
        except CertificateError as error:  # it holds for some time yet
            logger.warning("mutewatch: the intermediate was not renewed: %s", error)

    def _keep_chains(self, leaves: Iterable[Leaf]) -> None:
        make_directory(self._chains)
        for leaf in leaves:
            path = self._chain_file(leaf)
            if path is not None and not path.exists():
                write_private(path, b"".join(one.public_bytes(Encoding.PEM) for one in leaf.chain))

    def _stamp(self) -> object:
        """What changes whenever a file that was read is replaced."""
        if self._settings.leaf_dir is not None:
            paths = sorted(self._settings.leaf_dir.glob("*.pem"))
        else:
            paths = [self._authority.certificate_path("root"), self._authority.certificate_path("intermediate")]
        return [(path.name, *_version(path)) for path in paths]


def _shown() -> dict[Any, mitmproxy_certs.CertStoreEntry]:
    """What mitmproxy shows, by name."""
    tlsconfig: Any = ctx.master.addons.get("tlsconfig")
    found: dict[Any, mitmproxy_certs.CertStoreEntry] = tlsconfig.certstore.certs
    return found


def _version(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_ctime_ns, found.st_size)  # also given to another owner, or another mode
