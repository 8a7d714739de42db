"""`mutewatch serve`: the page, live, for those who may see it; and the tokens of those.

Who may reach it is decided here: the machine itself without further ado, others only with tokens and over TLS.
"""

import logging
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from mutewatch.audit import audit
from mutewatch.config import open_state
from mutewatch.errors import OperatorError
from mutewatch.identity import Names, load_or_create_key

if TYPE_CHECKING:
    from socket import socket

    import uvicorn

    from mutewatch.serve.desk import Settings
    from mutewatch.serve.reading import ReadOnlyStore
    from mutewatch.serve.tokens import TokenFile

CONNECTIONS = 64  # at a time; a browser opens six
IDLE_SECONDS = 5
STOP_SECONDS = 3


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the operator chose; None for what was not said."""

    store: Path | str
    listen: str
    token_file: Path | None
    hosts: tuple[str, ...]
    tls_cert: Path | None
    tls_key: Path | None
    is_behind_proxy: bool
    needs_token: bool
    guesses: bool
    poll_seconds: float
    signatures: Path | None = None  # folder of the operator's own


def new_token(root: Path, token_file: Path | None, role: str, name: str) -> int:
    """Make a token and print it. Raises OperatorError."""
    from mutewatch.report.payload import Role
    from mutewatch.serve.tokens import FILE, TokenFile

    if role not in list(Role):
        raise OperatorError(f"--new-token {role} {name}: write viewer or analyst, then a name")
    state = open_state(root)
    now = datetime.now(UTC)
    tokens = TokenFile(token_file or state.root / FILE)
    token = tokens.add(Role(role), name, now)
    audit(state.root, now, "command line", "new token", {"name": name, "role": role})
    print(f"{token}\n\nThis is shown once. To take it away, delete the line of {name} in {tokens.path}.")
    return 0


def serve(root: Path, options: ServeOptions) -> int:
    """Serve the page until a signal says stop. Raises OperatorError for what would not be safe, or cannot be."""
    import uvicorn

    from mutewatch.commands.bounded_http import BoundedHttp
    from mutewatch.report.payload import Role
    from mutewatch.serve.access import Access
    from mutewatch.serve.app import build_app
    from mutewatch.serve.desk import Desk
    from mutewatch.serve.guard import HEAD_BYTES
    from mutewatch.serve.reading import ReadOnlyStore
    from mutewatch.serve.tokens import FILE, TokenFile
    from mutewatch.signatures import known_signatures

    known_signatures(options.signatures)  # a fault in an operator's own is said now, not on a page
    host, port = parse_listen(options.listen)
    state = open_state(root)
    tokens = TokenFile(options.token_file or state.root / FILE)
    check_reach(options, host, tokens)
    context = _tls(options)
    access = Access(tokens, anonymous=None if options.needs_token else Role.VIEWER)
    store = ReadOnlyStore(options.store)
    desk = Desk(
        _settings(options, host),
        store,
        access,
        Names(load_or_create_key(state.client_key)),
        partial(audit, state.root),
        lambda: datetime.now(UTC),
    )
    config = uvicorn.Config(
        build_app(desk),
        host,
        port,
        http=BoundedHttp,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        ssl_context_factory=None if context is None else lambda _config, _default: context,
    )
    link = None if tokens.tokens() or not options.needs_token else access.make_link()

    class Server(uvicorn.Server):
        async def startup(self, sockets: "list[socket] | None" = None) -> None:
            await super().startup(sockets)
            url = _url(self.servers[0].sockets[0].getsockname(), has_tls=context is not None)
            print(*_greeting(url, link, options), sep="\n", flush=True)

    bound = _bound(config)
    if told := _why_away(store, options.store):
        print(f"mutewatch: {told}", file=sys.stderr)
    Server(config).run(sockets=[bound])
    return 0


def _why_away(store: "ReadOnlyStore", location: Path | str) -> str | None:
    """Say why the store cannot be read now, to whoever may know paths and hosts; None if it can be."""
    from sqlalchemy.exc import DBAPIError

    from mutewatch.database import reason, shown
    from mutewatch.serve.reading import StoreAwayError

    if isinstance(location, Path) and not location.is_file():
        return f"there is no store at {location} yet"
    try:
        with store.look():
            return None
    except StoreAwayError as away:
        why = reason(away.__cause__) if isinstance(away.__cause__, DBAPIError) else away
        return f"{shown(location)} cannot be read now: {why}"


def parse_listen(text: str) -> tuple[str, int]:
    """Return address and port of `127.0.0.1:8480` or `[::1]:8480`. Raises OperatorError."""
    host, _, port = text.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    try:
        address, number = ip_address(host), int(port)
    except ValueError:
        raise OperatorError(f"--listen {text}: write an address and a port, as in 127.0.0.1:8480") from None
    if not 0 <= number <= 65_535:
        raise OperatorError(f"--listen {text}: a port is 1 to 65535, or 0 for any")
    return str(address), number


def check_reach(options: ServeOptions, host: str, tokens: "TokenFile") -> None:
    """Raise OperatorError for what would let people in who are not meant to be, or tokens be overheard."""
    is_ours_alone = ip_address(host).is_loopback and not options.is_behind_proxy
    has_tls = options.tls_cert is not None and options.tls_key is not None
    if (options.tls_cert is None) != (options.tls_key is None):
        raise OperatorError("--tls-cert and --tls-key belong together: give both")
    if is_ours_alone:
        tokens.tokens()  # says what is wrong with the file
        return
    if not options.needs_token:
        raise OperatorError(f"--no-token is for this machine alone: listen on 127.0.0.1, not {_from_where(host)}")
    if not has_tls and not options.is_behind_proxy:
        raise OperatorError(
            f"{_from_where(host)} can be reached from other machines, and tokens would be overheard: give --tls-cert "
            "and --tls-key, or --behind-proxy if a reverse proxy does TLS. For yourself: listen on 127.0.0.1, and "
            "ssh -L 8480:127.0.0.1:8480 from there"
        )
    if not tokens.tokens():
        raise OperatorError(
            f"there are no tokens in {tokens.path}, and others can reach this: make one for each who is to look, "
            "mutewatch serve --new-token viewer NAME"
        )


def _from_where(host: str) -> str:
    return "a reverse proxy" if ip_address(host).is_loopback else host


def _settings(options: ServeOptions, host: str) -> "Settings":
    from mutewatch.serve.desk import Settings
    from mutewatch.serve.guard import LOOPBACK_NAMES

    address = ip_address(host)
    own = () if address.is_unspecified else (f"[{host}]" if isinstance(address, IPv6Address) else host,)
    loopback = LOOPBACK_NAMES if address.is_loopback or address.is_unspecified else ()
    return Settings(
        hosts=(*own, *loopback, *(name.lower() for name in options.hosts)),
        is_secure=options.is_behind_proxy or options.tls_cert is not None,
        is_behind_proxy=options.is_behind_proxy,
        guesses=options.guesses,
        poll_seconds=options.poll_seconds,
        signatures=options.signatures,
    )


def _tls(options: ServeOptions) -> ssl.SSLContext | None:
    """Return what TLS is done with; None without. Raises OperatorError."""
    if options.tls_cert is None or options.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)  # TLS 1.2 and 1.3
    try:
        if options.tls_key.stat().st_mode & 0o007:
            raise OperatorError(f"the key {options.tls_key} is open to everybody: chmod o= {options.tls_key}")
        context.load_cert_chain(options.tls_cert, options.tls_key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        raise OperatorError(f"--tls-cert {options.tls_cert}, --tls-key {options.tls_key}: {_said(error)}") from None
    return context


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase, which nobody could type at the start of a service: write it without")


def _said(error: Exception) -> str:
    """ssl.SSLError has its reason in another place than other errors of the system."""
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)


def _bound(config: "uvicorn.Config") -> "socket":
    """Return the socket that it listens on. OperatorError if the address is not to be had."""
    logger = logging.getLogger("uvicorn.error")
    logger.disabled = True  # one line is enough
    try:
        return config.bind_socket()
    except SystemExit as stopped:
        error = stopped.__context__
        reason = error.strerror if isinstance(error, OSError) else "not to be had"
        raise OperatorError(f"--listen {config.host}:{config.port}: {reason}") from None
    finally:
        logger.disabled = False


def _url(name: tuple[str, int], *, has_tls: bool) -> str:
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"http{'s' if has_tls else ''}://{host}:{name[1]}"


def _greeting(url: str, link: str | None, options: ServeOptions) -> Iterator[str]:
    store = options.store if isinstance(options.store, Path) else "a database"  # its URL may hold a password
    yield f"Serving at {url}/ until Ctrl-C, from {store}."
    if not options.needs_token:
        yield "Anybody on this machine may view."
    elif link is None:
        yield "Log in with a token; for one of your own: mutewatch serve --new-token analyst NAME"
    else:
        yield "Open this link; it works once, for whoever has it:"
        yield f"{url}/login#{link}"
