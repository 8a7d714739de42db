"""A mitmproxy flow as an `Exchange`: the live proxy, flow dumps and HAR files all come through here.

The core does not import mitmproxy; it reads the attributes of a flow that it is given. Bodies are taken
raw (`raw_content`): mitmproxy would expand any compressed body without a bound.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mutewatch.records import Exchange, Origin

if TYPE_CHECKING:
    from mitmproxy.http import HTTPFlow


def exchange_from_flow(flow: "HTTPFlow", origin: Origin, *, client: str | None) -> Exchange:
    """Return the request of `flow`, with the status of its response if that is there already."""
    request = flow.request
    path, _, query = request.path.partition("?")
    return Exchange(
        sent_at=datetime.fromtimestamp(request.timestamp_start, UTC),
        client=client,
        host=request.pretty_host.lower().rstrip(".") or None,
        port=request.port,
        method=request.method.upper(),
        path=path,
        query=query,
        body=request.raw_content,
        origin=origin,
        content_encoding=request.headers.get("content-encoding"),
        status=flow.response.status_code if flow.response else None,
        connection=flow.client_conn.id,
    )
