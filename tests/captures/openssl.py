"""TLS endpoints in memory, straight on libssl: all that Python's `ssl` does not offer a test.

Python 3.11 can neither choose TLS 1.3 cipher suites and groups freely, nor send a KeyUpdate or early data. The calls
here are OpenSSL's documented ones, bound to the library that Python itself runs on.

- A `Context` holds settings, certificate and key log; resumption needs the same two contexts again.
- An `Endpoint` reads and writes bytes; it knows no socket.
"""

import ctypes
import ctypes.util
import functools
import importlib.util
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

TLS12, TLS13 = 0x0303, 0x0304
NO_ENCRYPT_THEN_MAC = 1 << 19
NO_TICKET = 1 << 14
_WANT_READ = 2
_MIN_VERSION, _MAX_VERSION, _GROUPS, _HOST_NAME = 123, 124, 92, 55  # numbers of SSL_ctrl and SSL_CTX_ctrl
_EARLY_ERROR, _EARLY_SUCCESS = 0, 1

_P, _I, _L, _S, _N = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p, ctypes.c_size_t
_KEY_LOG = ctypes.CFUNCTYPE(None, _P, _S)
_CHOOSE = ctypes.CFUNCTYPE(_I, _P, ctypes.POINTER(_P), ctypes.POINTER(ctypes.c_ubyte), _P, ctypes.c_uint, _P)
_CALLS: dict[str, tuple[Any, list[Any]]] = {
    "TLS_client_method": (_P, []),
    "TLS_server_method": (_P, []),
    "SSL_CTX_new": (_P, [_P]),
    "SSL_CTX_free": (None, [_P]),
    "SSL_CTX_ctrl": (_L, [_P, _I, _L, _P]),
    "SSL_CTX_set_options": (ctypes.c_uint64, [_P, ctypes.c_uint64]),
    "SSL_CTX_set_cipher_list": (_I, [_P, _S]),
    "SSL_CTX_set_ciphersuites": (_I, [_P, _S]),
    "SSL_CTX_set_max_early_data": (_I, [_P, ctypes.c_uint32]),
    "SSL_CTX_use_certificate_chain_file": (_I, [_P, _S]),
    "SSL_CTX_use_PrivateKey_file": (_I, [_P, _S, _I]),
    "SSL_CTX_set_alpn_protos": (_I, [_P, _S, ctypes.c_uint]),
    "SSL_CTX_set_alpn_select_cb": (None, [_P, _CHOOSE, _P]),
    "SSL_CTX_set_keylog_callback": (None, [_P, _KEY_LOG]),
    "SSL_new": (_P, [_P]),
    "SSL_free": (None, [_P]),
    "SSL_ctrl": (_L, [_P, _I, _L, _S]),
    "SSL_set_bio": (None, [_P, _P, _P]),
    "SSL_set_connect_state": (None, [_P]),
    "SSL_set_accept_state": (None, [_P]),
    "SSL_do_handshake": (_I, [_P]),
    "SSL_read": (_I, [_P, _P, _I]),
    "SSL_write": (_I, [_P, _S, _I]),
    "SSL_read_early_data": (_I, [_P, _P, _N, ctypes.POINTER(_N)]),
    "SSL_write_early_data": (_I, [_P, _S, _N, ctypes.POINTER(_N)]),
    "SSL_get_error": (_I, [_P, _I]),
    "SSL_key_update": (_I, [_P, _I]),
    "SSL_shutdown": (_I, [_P]),
    "SSL_session_reused": (_I, [_P]),
    "SSL_get1_session": (_P, [_P]),
    "SSL_set_session": (_I, [_P, _P]),
    "BIO_new": (_P, [_P]),
    "BIO_s_mem": (_P, []),
    "BIO_read": (_I, [_P, _P, _I]),
    "BIO_write": (_I, [_P, _S, _I]),
    "ERR_clear_error": (None, []),
}


@functools.cache
def library() -> Any:
    """Return libssl with the calls above; OSError where there is no shared one."""
    spec = importlib.util.find_spec("_ssl")
    own = spec.origin if spec and spec.origin and spec.origin != "built-in" else None
    lib = ctypes.CDLL(own or ctypes.util.find_library("ssl") or "libssl.so.3")
    for name, (result, arguments) in _CALLS.items():
        call = getattr(lib, name)
        call.restype, call.argtypes = result, arguments
    return lib


@dataclass(frozen=True, slots=True)
class Settings:
    """What one side wants, in OpenSSL's spelling. `alpn`: protocols, wanted first; the server takes its first."""

    version: int = TLS13
    ciphers: str = "ECDHE-ECDSA-AES128-GCM-SHA256"  # up to TLS 1.2
    suites: str = "TLS_AES_128_GCM_SHA256"  # TLS 1.3
    groups: str = "X25519:P-256:P-384"
    options: int = 0
    alpn: tuple[str, ...] = ()
    early_data: int = 0  # bytes a server takes
    rsa: bool = False  # the kind of the server's certificate


class Context:
    """An SSL_CTX. Its key log grows in `keylog`, a line per secret."""

    def __init__(self, settings: Settings, *, client: bool) -> None:
        lib = library()
        self.client, self.keylog, self._keep = client, bytearray(), list[Any]()
        self.ctx = lib.SSL_CTX_new(lib.TLS_client_method() if client else lib.TLS_server_method())
        weakref.finalize(self, lib.SSL_CTX_free, self.ctx)
        lib.SSL_CTX_ctrl(self.ctx, _MIN_VERSION, settings.version, None)
        lib.SSL_CTX_ctrl(self.ctx, _MAX_VERSION, settings.version, None)
        lib.SSL_CTX_set_options(self.ctx, settings.options)
        lib.SSL_CTX_ctrl(self.ctx, _GROUPS, 0, settings.groups.encode())
        good = lib.SSL_CTX_set_cipher_list(self.ctx, settings.ciphers.encode())
        good &= lib.SSL_CTX_set_ciphersuites(self.ctx, settings.suites.encode())
        if not good:
            raise ValueError(f"libssl knows no cipher of {settings}")
        if client:
            self._log_keys()
        else:
            lib.SSL_CTX_set_max_early_data(self.ctx, settings.early_data)
            _certify(self.ctx, rsa=settings.rsa)
        self._agree(settings.alpn)

    def _log_keys(self) -> None:
        def note(_ssl: int, line: bytes) -> None:
            self.keylog.extend(line + b"\n")

        call = _KEY_LOG(note)
        self._keep.append(call)
        library().SSL_CTX_set_keylog_callback(self.ctx, call)

    def _agree(self, protocols: tuple[str, ...]) -> None:
        names = [protocol.encode() for protocol in protocols]
        if self.client:
            wire = b"".join(bytes([len(name)]) + name for name in names)
            library().SSL_CTX_set_alpn_protos(self.ctx, wire, len(wire))
        elif names:
            chosen = ctypes.create_string_buffer(names[0])

            def choose(_ssl: Any, out: Any, length: Any, _offer: Any, _offered: Any, _argument: Any) -> int:
                out[0], length[0] = ctypes.addressof(chosen), len(names[0])
                return 0

            call = _CHOOSE(choose)
            self._keep += [chosen, call]
            library().SSL_CTX_set_alpn_select_cb(self.ctx, call, None)


class Endpoint:
    """One side of one connection. Give it what arrived, take what it wants to send."""

    def __init__(self, context: Context, host: str = "", session: int | None = None) -> None:
        lib = self._lib = library()
        self._context = context  # must outlive us
        self._ssl = lib.SSL_new(context.ctx)
        weakref.finalize(self, lib.SSL_free, self._ssl)
        self._in, self._out = lib.BIO_new(lib.BIO_s_mem()), lib.BIO_new(lib.BIO_s_mem())
        lib.SSL_set_bio(self._ssl, self._in, self._out)
        (lib.SSL_set_connect_state if context.client else lib.SSL_set_accept_state)(self._ssl)
        if context.client and host:
            lib.SSL_ctrl(self._ssl, _HOST_NAME, 0, host.encode())
        if session is not None:
            lib.SSL_set_session(self._ssl, session)

    def give(self, data: bytes) -> None:
        """Take bytes from the wire."""
        self._lib.BIO_write(self._in, data, len(data))

    def take(self) -> bytes:
        """Return all bytes for the wire."""
        taken, buffer = b"", ctypes.create_string_buffer(1 << 16)
        while (count := self._lib.BIO_read(self._out, buffer, len(buffer))) > 0:
            taken += buffer.raw[:count]
        return taken

    def shake_hands(self) -> bool:
        """Go on with the handshake; True when it is done."""
        return self._done(self._lib.SSL_do_handshake(self._ssl))

    def read(self) -> bytes:
        """Return all application data that arrived."""
        data, buffer = b"", ctypes.create_string_buffer(1 << 16)
        while (count := self._lib.SSL_read(self._ssl, buffer, len(buffer))) > 0:
            data += buffer.raw[:count]
        self._lib.ERR_clear_error()
        return data

    def write(self, data: bytes) -> None:
        """Send application data: one record for each 16 KiB."""
        self._done(self._lib.SSL_write(self._ssl, data, len(data)))

    def write_early(self, data: bytes) -> None:
        """Send 0-RTT data; only before the handshake, with a session that allows it."""
        self._done(self._lib.SSL_write_early_data(self._ssl, data, len(data), ctypes.byref(_N())))

    def read_early(self) -> bytes:
        """Return the 0-RTT data that arrived; only a server before the handshake."""
        data, count, buffer = b"", _N(), ctypes.create_string_buffer(1 << 16)
        while True:
            answer = self._lib.SSL_read_early_data(self._ssl, buffer, len(buffer), ctypes.byref(count))
            if answer != _EARLY_SUCCESS:
                self._lib.ERR_clear_error()
                return data
            data += buffer.raw[: count.value]

    def update_keys(self) -> None:
        """Send with new keys from the next write on, and ask the other side to do the same."""
        self._done(self._lib.SSL_key_update(self._ssl, 1))

    def close(self) -> None:
        """Send close_notify, without which OpenSSL forgets the session."""
        self._lib.SSL_shutdown(self._ssl)
        self._lib.ERR_clear_error()

    @property
    def resumed(self) -> bool:
        """Was the handshake abbreviated?"""
        return bool(self._lib.SSL_session_reused(self._ssl))

    def session(self) -> int:
        """Return the session for a later connection; in TLS 1.3 only once a ticket was read."""
        return int(self._lib.SSL_get1_session(self._ssl))

    def _done(self, result: int) -> bool:
        if result <= 0:
            error = self._lib.SSL_get_error(self._ssl, result)
            self._lib.ERR_clear_error()
            if error != _WANT_READ:
                raise ConnectionError(f"OpenSSL error {error}")
        return result > 0


@functools.cache
def _certificate(*, rsa: bool) -> tuple[bytes, bytes]:
    kind = trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA
    leaf = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("tsa3.webex.com", key_type=kind)
    return b"".join(pem.bytes() for pem in leaf.cert_chain_pems), leaf.private_key_pem.bytes()


def _certify(ctx: int, *, rsa: bool) -> None:
    chain, key = _certificate(rsa=rsa)
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (("chain", chain), ("key", key)):
            (Path(folder) / name).write_bytes(data)
        good = library().SSL_CTX_use_certificate_chain_file(ctx, f"{folder}/chain".encode())
        good &= library().SSL_CTX_use_PrivateKey_file(ctx, f"{folder}/key".encode(), 1)
    if not good:
        raise ValueError("libssl refused the certificate")
