"""stand-in"""

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from mutewatch.report.payload import Role
from mutewatch.serve.desk import Desk


def page_routes(desk: Desk) -> list[Route]:
    async def show(request: Request) -> Response:
        visitor = desk.require(request, Role.VIEWER, "page")
        desk.note_view(request, visitor, "page")
        return HTMLResponse("<!doctype html><title>x</title>")

    return [Route("/", show)]
