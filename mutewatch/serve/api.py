"""The data behind the page: /api/overview, /api/minutes, /api/summary, and /export.csv, /export.jsonl.

| limit | value | on hit |
|---|---|---|
| span of one request | 31 days | 400 |
| looks at the store at a time | 4 | the others wait |
| seconds of one look | 10 | 503 |

Times are whole seconds since 1970. An answer has an ETag: who has it already is told so in few bytes.
"""

import io
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any, Final

from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mutewatch.history import History
from mutewatch.identity import Names
from mutewatch.records import Finding
from mutewatch.report.payload import Role, client_minutes, overview, shown_name, summary
from mutewatch.serve.desk import Desk, Span
from mutewatch.sinks.csv_file import CsvSink
from mutewatch.sinks.jsonl import JsonLinesSink

LONGEST: Final = timedelta(days=31)
FIRST_SHOWN: Final = timedelta(days=7)  # to who names no span
DAY: Final = timedelta(days=1)
MONTH: Final = re.compile("(19[789]|20[0-9])[0-9]-(0[1-9]|1[0-2])")
LONGEST_NAME: Final = 1024  # characters of a client's name
EXPORTS: Final[dict[str, tuple[type[CsvSink | JsonLinesSink], str]]] = {
    "csv": (CsvSink, "text/csv; charset=utf-8"),
    "jsonl": (JsonLinesSink, "application/x-ndjson"),
}


def data_routes(desk: Desk) -> list[Route]:
    """Return the routes; each raises HTTPException, StoreAwayError or OperatorError."""

    async def show_overview(request: Request) -> Response:
        visitor = desk.require(request, Role.VIEWER, "overview")
        span = await _asked_span(desk, request)
        answer = await desk.look(
            lambda history: overview(history, span.since, span.until, visitor.role, **_guessing(desk))
        )
        desk.note_view(request, visitor, "overview", None, span)
        return _answer(request, answer | {"visitor": visitor.name})

    async def show_minutes(request: Request) -> Response:
        visitor = desk.require(request, Role.VIEWER, "minutes")
        span = await _asked_span(desk, request)
        client = _client(request)
        if client is None:
            raise HTTPException(400, "Whose minutes? Name a client.")
        answer = await desk.look(
            lambda history: client_minutes(history, client, span.since, span.until, visitor.role, **_guessing(desk))
        )
        desk.note_view(request, visitor, "minutes", client, span)
        return _answer(request, answer)

    async def show_summary(request: Request) -> Response:
        visitor, month = desk.require(request, Role.VIEWER, "summary"), _month(request, desk.now())
        answer = await desk.look(lambda history: summary(history, month, visitor.role, **_how(desk)))
        desk.note_view(request, visitor, f"summary {month:%Y-%m}")
        return _answer(request, answer)

    async def export(request: Request) -> Response:
        kind = request.url.path.rpartition(".")[2]
        has_evidence = request.query_params.get("evidence") == "1"
        visitor = desk.require(request, Role.ANALYST if has_evidence else Role.VIEWER, f"export {kind}")
        span, client = await _asked_span(desk, request), _client(request)
        chosen = await desk.look(lambda history: _chosen(history, span, client, visitor.role, desk.names))
        desk.note(request, visitor, f"export {kind}", 200, client, span, evidence=has_evidence)
        name = f"mutewatch-{span.since:%Y%m%d}-{span.until:%Y%m%d}.{kind}"
        return StreamingResponse(
            _exported(desk, kind, chosen, span, has_evidence=has_evidence),
            media_type=EXPORTS[kind][1],
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    return [
        Route("/api/overview", show_overview),
        Route("/api/minutes", show_minutes),
        Route("/api/summary", show_summary),
        Route("/export.csv", export),
        Route("/export.jsonl", export),
    ]


def _how(desk: Desk) -> dict[str, Any]:
    return {"names": desk.names, "signatures": desk.settings.signatures}


def _guessing(desk: Desk) -> dict[str, Any]:
    return _how(desk) | {"guesses": desk.settings.guesses}


def _answer(request: Request, payload: dict[str, Any]) -> Response:
    body = json.dumps(payload, separators=(",", ":")).encode()
    tag = f'"{sha256(body).hexdigest()[:32]}"'
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    if tag in known:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, media_type="application/json", headers={"ETag": tag})


async def _asked_span(desk: Desk, request: Request) -> Span:
    """Return the span that is asked for; by default the week that ends with the store's last day. HTTPException 400."""
    since, until = _time(request, "since"), _time(request, "until")
    if until is None:
        known = await desk.look(lambda history: history.span())
        last = known[1] if known else desk.now()
        until = last.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    since = since or until - FIRST_SHOWN
    if not timedelta(0) < until - since <= LONGEST:
        raise HTTPException(400, f"Ask for a span of at most {LONGEST.days} days, since before until.")
    return Span(since, until)


def _time(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise HTTPException(400, f"{name}: write whole seconds since 1970.")
    return datetime.fromtimestamp(int(text), UTC)


def _month(request: Request, now: datetime) -> date:
    text = request.query_params.get("month", f"{now:%Y-%m}")
    if not MONTH.fullmatch(text):
        raise HTTPException(400, "month: write it as 2026-03.")
    return date.fromisoformat(f"{text}-01")


def _client(request: Request) -> str | None:
    client = request.query_params.get("client")
    if client is not None and len(client) > LONGEST_NAME:
        raise HTTPException(400, f"No client's name has more than {LONGEST_NAME} characters.")
    return client


def _chosen(history: History, span: Span, client: str | None, role: Role, names: Names) -> list[str]:
    """Return the clients that are exported, as the store names them; `client` is as `role` sees it."""
    found = [one.client for one in history.clients(span.since, span.until)]
    return [one for one in found if client is None or shown_name(one, role, names) == client]


async def _exported(desk: Desk, kind: str, clients: list[str], span: Span, *, has_evidence: bool) -> AsyncIterator[str]:
    """Yield the export, one client's day at a time: a reader that is slow must not hold the store's log."""
    file = io.StringIO()
    sink = EXPORTS[kind][0](file)

    def write(history: History, client: str, since: datetime, until: datetime) -> None:
        for finding in history.minutes(client, since, until):
            sink.write([_given(desk, finding) if has_evidence else redacted(finding, desk.names)])

    for client in clients:
        since = span.since
        while since < span.until:
            until = min(since + DAY, span.until)
            await desk.look(partial(write, client=client, since=since, until=until))
            yield file.getvalue()
            file.seek(0)
            file.truncate()
            since = until
    yield file.getvalue()  # of nobody's minutes, the header


def _given(desk: Desk, finding: Finding) -> Finding:
    return finding if desk.settings.guesses else replace(finding, guess=None)


def redacted(finding: Finding, names: Names) -> Finding:
    """Return what a viewer may have of a finding: when it was, and the verdict, under a pseudonym.

    The rule says whether it was muted in part; the minute's name may quote the reason and the message's hash.
    """
    client = shown_name(finding.client, Role.VIEWER, names)
    told = replace(finding, client=client, call="", reason="", mute=None, source=None, guess=None)
    return replace(told, rule="", minute="", values=(), information=(), samples=None)
