"""uvicorn's HTTP/1.1 without the patience: by itself it waits for ever for the rest of a request, or its reader."""

from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

LOOK_SECONDS: Final = 10.0


class BoundedHttp(H11Protocol):
    """A connection that is looked at while nothing is being answered on it is closed; at the next look, cut."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        if self not in self.connections:
            return
        if self.transport.is_closing():
            self.transport.abort()  # it had all this time to read what it was sent
        elif self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        self.loop.call_later(LOOK_SECONDS, self._look)
