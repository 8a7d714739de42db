"""Says which host a request names: from what stands in its head, or from its first bytes alone."""


def named_host(head: bytes) -> str | None:
    """Return the host that a request names, "" if its head names none; None while the head is not complete."""
    end = head.find(b"\r\n\r\n")
    lines = head[: end if end >= 0 else len(head)].split(b"\n")
    target = lines[0].split(b" ")[1:2]
    for line in lines[1:] if end >= 0 or len(lines) > 1 else ():
        name, colon, value = line.partition(b":")
        if colon and name.strip().lower() == b"host" and (end >= 0 or line.endswith(b"\r")):
            return host_of(value.strip().decode("latin-1")) or ""
    if end < 0:
        return None
    if not target:
        return ""
    authority = target[0].partition(b"://")[2].partition(b"/")[0] or target[0]
    return host_of(authority.decode("latin-1")) or ""


def host_of(text: str | None) -> str | None:
    """Return a host name in lower case, without port and final dot."""
    if not text:
        return None
    name = text.rpartition("]")[0].removeprefix("[") if text.startswith("[") else text.partition(":")[0]
    return name.lower().rstrip(".") or None
