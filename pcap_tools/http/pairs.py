"""Says which HTTP/1 response belongs to which request.

- While nothing was lost before them, the n-th final response belongs to the n-th request (RFC 9112, 9.3.2).
- After a loss, by time: a response belongs to request k if it is the only one that begins after k's last
  packet and before the next request's first, nothing of the client is missing in between, and it cannot be
  a late response to the request before k. A connection that was seen to pipeline is not paired by time.
- Whoever is not sure says nothing: a request without its response is better than with another one's.

It decides as soon as both sides have come far enough, so the order between the sides does not matter.
"""

from collections import deque

from pcap_tools.http.account import Account
from pcap_tools.http.draft import Answer, Draft
from pcap_tools.http.inbox import Inbox

_END = 1 << 62  # a frame number after all others


class Pairs:
    """Holds requests that have no response yet, and responses whose request is not known yet."""

    def __init__(self, client: Inbox, server: Inbox, account: Account, limit: int) -> None:
        self._client, self._server, self._account, self._limit = client, server, account, limit
        self._open: deque[Draft] = deque()
        self._by_index: dict[int, Draft] = {}
        self._loose: deque[Answer] = deque()
        self._newest: Draft | None = None
        self._pipelined = False
        self._owed = False  # the request before the one at hand has no response

    def add(self, request: Draft) -> None:
        """Take the next request of the client."""
        if self._newest is not None:
            self._newest.next = request
            self._notice_pipelining(self._newest)
        self._newest = request
        self._open.append(request)
        if request.index is not None:
            self._by_index[request.index] = request
        if len(self._open) > self._limit:
            self.let_go(self._open[0])

    def request(self, index: int) -> Draft | None:
        """Return the request with this number, if it waits for a response."""
        return self._by_index.get(index)

    def answer(self, request: Draft, answer: Answer) -> None:
        """`answer` certainly belongs to `request`."""
        request.answer = answer
        self._notice_pipelining(request)
        self._close(request)

    def add_loose(self, answer: Answer) -> None:
        """Take the next response of which the request is not known."""
        self._loose.append(answer)
        if len(self._loose) > self._limit:
            self._drop_loose()

    def settle(self, lost_at: int | None) -> None:
        """Pair by time what can be decided; `lost_at`: the first response after a loss on the server's side."""
        while self._open and self._is_by_time(request := self._open[0], lost_at):
            until = request.next.first.frame if request.next else _END
            far_enough = self._server.ended or (request.next is not None and self._server.newest >= until)
            if not request.complete or not far_enough or (request.next is None and not self._client.ended):
                return
            self._settle(request, until)

    def rest(self) -> None:
        """Count what is left at the end."""
        while self._loose:
            self._drop_loose()

    def _is_by_time(self, request: Draft, lost_at: int | None) -> bool:
        if request.index is None:
            return True
        return self._server.ended or (lost_at is not None and request.index >= lost_at)

    def _settle(self, request: Draft, until: int) -> None:
        """Give `request` the one response in its window, or none."""
        while self._loose and self._loose[0].first.frame <= request.last.frame:
            self._drop_loose()
        window = [answer for answer in self._loose if answer.first.frame < until]
        behind = request.next.after_loss if request.next else self._client.gaps_after(request.last.frame)
        sure = len(window) == 1 and not behind and not self._pipelined
        if sure and (not self._owed or window[0].after_loss):
            self._loose.remove(window[0])
            request.answer = window[0]
        self._owed = request.answer is None
        self.let_go(request)

    def let_go(self, request: Draft) -> None:
        """No response to `request` will be found, if none was."""
        request.hopeless = request.answer is None
        self._close(request)

    def _close(self, request: Draft) -> None:
        if request in self._open:
            self._open.remove(request)
        if request.index is not None:
            self._by_index.pop(request.index, None)

    def _drop_loose(self) -> None:
        self._loose.popleft().body.lose("not paired")
        self._account.responses_unpaired += 1

    def _notice_pipelining(self, request: Draft) -> None:
        """Did the next request begin before the response to this one?"""
        if request.next is not None and request.answer is not None:
            self._pipelined |= request.next.first.frame < request.answer.first.frame
