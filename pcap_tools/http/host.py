"""Says which host a request names: from what stands in its head, or from its first bytes alone."""

import re

_HEAD_END = re.compile(rb"\n\r?\n")  # a bare LF is taken by many (RFC 9112, 2.2)


def named_host(head: bytes) -> str | None:
    """Return the host that a request names, "" if its head names none; None while the head is not complete."""
    end = _HEAD_END.search(head)
    first, *lines = head[: end.start() if end else max(0, head.rfind(b"\n"))].split(b"\n")
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon and name.strip().lower() == b"host":
            return _host(value)
    if end is None:
        return None
    method, _, target = first.partition(b" ")
    if method != b"CONNECT":
        target = b"" if target.startswith(b"/") else target.partition(b"://")[2].partition(b"/")[0]
    return _host(target)


def _host(value: bytes) -> str:
    return host_of(value.strip().decode("latin-1")) or ""


def host_of(text: str | None) -> str | None:
    """Return a host name in lower case, without port and final dot."""
    if not text:
        return None
    name = text.rpartition("]")[0].removeprefix("[") if text.startswith("[") else text.partition(":")[0]
    return name.lower().rstrip(".") or None
