"""Carries out what was decided on a message: the only place that changes what clients send."""

from mitmproxy import http
from mitmproxy.websocket import WebSocketMessage

from mutewatch.mitigate import Answer, Decision

# Of the body as it was; the server would take the new one for damaged.
CHECKSUMS = ("content-md5", "digest", "content-digest", "repr-digest")
RETRY_SECONDS = 60
OURS = "mutewatch_ours"  # flow.metadata: the response is none of the server's


def apply(decision: Decision, flow: http.HTTPFlow) -> None:
    """Change or answer the request of `flow`, whose body is all there and has not left."""
    if decision.answer is not None:
        answer(flow, decision.answer)
    elif decision.body is not None:
        replace_body(flow.request, decision.body)
        if decision.query is not None:
            path = flow.request.path.partition("?")[0]
            flow.request.path = f"{path}?{decision.query}" if decision.query else path


def replace_body(request: http.Request, body: bytes) -> None:
    """Send `body`, which has the same content-encoding, with the right length."""
    request.raw_content = body
    if "transfer-encoding" not in request.headers:
        request.headers["content-length"] = str(len(body))
    for name in CHECKSUMS:
        request.headers.pop(name, None)


def answer(flow: http.HTTPFlow, how: Answer) -> None:
    """Answer in the server's place, or end the connection."""
    if how is Answer.RESET:
        kill(flow)
    elif how is Answer.OK:
        _answer(flow, http.Response.make(200, b"{}", {"Content-Type": "application/json"}))
    else:
        response = http.Response.make(int(how.value), b"")
        if how is Answer.NO_CONTENT:
            del response.headers["content-length"]  # RFC 9110, 8.6
        _answer(flow, response)


def refuse(flow: http.HTTPFlow) -> None:
    """Ask the client to come again later."""
    _answer(flow, http.Response.make(503, b"", {"Retry-After": str(RETRY_SECONDS)}))


def send_elsewhere(flow: http.HTTPFlow) -> None:
    """Ask the client to come again on a connection of its own (421, RFC 9110, 15.5.20): browsers do at once."""
    _answer(flow, http.Response.make(421, b""))


def kill(flow: http.HTTPFlow) -> None:
    """End the connection, if it still stands."""
    if flow.killable:
        flow.kill()


def apply_to_message(decision: Decision, message: WebSocketMessage) -> None:
    """Change a websocket message that has not left, or drop it; nobody is told of that."""
    if decision.answer is not None:
        message.drop()
    elif decision.body is not None:
        message.content = decision.body


def _answer(flow: http.HTTPFlow, response: http.Response) -> None:
    flow.response = response
    flow.metadata[OURS] = True
