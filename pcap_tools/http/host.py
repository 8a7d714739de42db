"""Says which host the first bytes of an HTTP/1 request name, before anybody reads it whole."""


def named_host(head: bytes) -> str | None:
    """Return the host that a request names, "" if its head names none; None while the head is not complete."""
    end = head.find(b"\r\n\r\n")
    lines = head[: end if end >= 0 else len(head)].split(b"\n")
    target = lines[0].split(b" ")[1:2]
    for line in lines[1:] if end >= 0 or len(lines) > 1 else ():
        name, colon, value = line.partition(b":")
        if colon and name.strip().lower() == b"host" and (end >= 0 or line.endswith(b"\r")):
            return _without_port(value)
    if end < 0:
        return None
    return _without_port(target[0].partition(b"://")[2].partition(b"/")[0] or target[0]) if target else ""


def _without_port(value: bytes) -> str:
    text = value.strip().decode("latin-1").lower()
    name = text.rpartition("]")[0].removeprefix("[") if text.startswith("[") else text.partition(":")[0]
    return name.rstrip(".")
