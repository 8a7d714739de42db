"""Reads HAR files (HTTP Archive, as browsers and proxies export them), by mitmproxy's own reader.

What a HAR does not hold is not reported, although mitmproxy fills it in: the client's address (it says
127.0.0.1) and the connection (it makes an id). A response status of 0 means that there was no response. The bodies
of responses are read where they are wanted, and websocket messages (`har_messages`).

A HAR holds the *decoded* text of a request body. mitmproxy encodes it again as the request's
Content-Encoding header says, and drops the header where it does not know that encoding: in both cases
`body` and `content_encoding` agree, and removing the encoding gives the bytes that other doors give.

The file is read whole, as there is no other way with one JSON document. A bad entry costs only itself;
of a file that is cut off or broken, the entries before the damage are read. Either way it ends with one
InputError.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from mutewatch.errors import InputError, shown
from mutewatch.flow import exchange_from_flow
from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange, Origin
from pcap_tools.files import open_input
from pcap_tools.har_messages import MESSAGES, answers, websocket_messages
from pcap_tools.limits import DEFAULT_READ_LIMITS, ReadLimits

_MOST_FAULTS = 10  # that are told of one file
_BOM = b"\xef\xbb\xbf"


class HarReader:
    """Yields the requests of a HAR file."""

    name = "har"

    def __init__(self, limits: ReadLimits = DEFAULT_READ_LIMITS) -> None:
        self._limits = limits

    def sniff(self, head: bytes) -> bool:
        """Is `head` an object whose first key is "log"?"""
        start = head.removeprefix(_BOM).lstrip()
        return start.startswith(b"{") and start[1:].lstrip().startswith(b'"log"')

    def read(self, path: Path, options: ReadOptions) -> Iterator[Exchange]:
        """Yield the exchanges of each good entry; raise InputError at the end if anything was not read."""
        from mitmproxy.io.har import request_to_flow

        with open_input(path) as handle:
            raw = handle.read(self._limits.har_file + 1)
        if len(raw) > self._limits.har_file:
            raise InputError(path, f"a HAR file of more than {self._limits.har_file:,} bytes is not read")
        options.on_bytes(len(raw))
        entries, damage = _entries(path, raw)
        bad: list[int] = []
        faults: list[str] = []
        for number, entry in enumerate(entries, start=1):
            origin = Origin(self.name, shown(path), number)
            try:
                flow = request_to_flow(_request_only(entry))
                request = _only_what_was_reported(exchange_from_flow(flow, origin), entry)
            except Exception:
                # request_to_flow checks nothing: a wrong type fails with any of the built-in exceptions.
                bad.append(number)
                continue
            yield request
            if options.wants_answer(request.method, request.host, request.path):
                yield from answers(request, entry)
            found = websocket_messages(request, entry)
            yield from found.messages
            faults += [f"entry {number}: {fault}" for fault in found.faults]
        if damage:
            raise damage
        if bad:
            faults.insert(0, f"entry {bad[0]} is not a HAR entry; {len(bad)} of {len(entries)} entries were not read")
        if faults:
            raise InputError(path, "; and ".join(faults[:_MOST_FAULTS]))


def _request_only(entry: dict[str, Any]) -> dict[str, Any]:
    """Return `entry` with an empty response: mitmproxy would refuse a request for its response's faults."""
    request = dict(entry["request"])
    if not isinstance(request.get("postData"), dict) or not isinstance(request["postData"].get("text"), str):
        request.pop("postData", None)
    if str(request["url"])[:2].lower() == "ws":  # browsers name a websocket so; mitmproxy only knows http and https
        request["url"] = f"http{request['url'][2:]}"
    response = {"status": 200, "httpVersion": "HTTP/1.1", "headers": [], "content": {}}
    return {**entry, "time": 0, "request": request, "response": response}


def _only_what_was_reported(exchange: Exchange, entry: dict[str, Any]) -> Exchange:
    """Return `exchange` with the status, body and connection that `entry` reports, and no client.

    The body is None where the entry says that there was one (by a size, or as form parameters) without
    giving its text, as browsers do for binary bodies.
    """
    request, response = entry["request"], entry.get("response")
    status = response.get("status") if isinstance(response, dict) else None
    known = isinstance(status, int) and 100 <= status <= 999
    post = request.get("postData")
    size = request.get("bodySize")
    given = isinstance(post, dict) and isinstance(post.get("text"), str)
    lost = not given and (bool(post) or (isinstance(size, int) and size > 0))
    return replace(
        exchange,
        client=None,
        client_port=None,
        connection=_connection(exchange, entry),
        status=status if known else None,
        body=None if lost else exchange.body,
    )


def _connection(exchange: Exchange, entry: dict[str, Any]) -> str | None:
    """Return a name of the connection in this file. A websocket has one of its own, named or not.

    Firefox gives the server's port, which names none.
    """
    name = entry.get("connection")
    if isinstance(name, str) and name not in ("", "0", str(exchange.port)):
        return f"{exchange.origin.file}#{name}"
    return f"{exchange.origin.file}#entry {exchange.origin.ordinal}" if MESSAGES in entry else None


def _entries(path: Path, raw: bytes) -> tuple[list[Any], InputError | None]:
    """Return the entries of a HAR file that can be read, and what stopped the reading, if anything did."""
    start = len(_BOM) if raw.startswith(_BOM) else 0
    try:
        text = raw[start:].decode("utf-8")
        entries = json.loads(text)["log"]["entries"]
    except UnicodeDecodeError as error:
        damage = InputError(path, "not UTF-8 text", start + error.start)
        return _salvage(raw[start : start + error.start].decode("utf-8")), damage
    except json.JSONDecodeError as error:
        offset = start + len(error.doc[: error.pos].encode())
        reason = f"not valid JSON ({error.msg}); the file may be cut off"
        return _salvage(error.doc), InputError(path, reason, offset)
    except RecursionError:
        return _salvage(text), InputError(path, "nested too deeply for a HAR file", start)
    except (ValueError, LookupError, TypeError):
        entries = None
    if not isinstance(entries, list):
        return [], InputError(path, 'not a HAR file: there is no "entries" list in "log"', start)
    return entries, None


def _salvage(text: str) -> list[Any]:
    """Return the complete entries before the damage in `text`."""
    found: list[Any] = []
    opening = re.search(r'"entries"\s*:\s*\[', text)
    at = opening.end() if opening else len(text)
    decoder, gap = json.JSONDecoder(), re.compile(r"[\s,]*")
    while (begin := gap.match(text, at)) and text.startswith("{", begin.end()):
        try:
            entry, at = decoder.raw_decode(text, begin.end())
        except (ValueError, RecursionError):
            break
        found.append(entry)
    return found
