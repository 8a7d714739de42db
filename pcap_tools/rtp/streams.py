"""Follows the RTP streams of a capture: which there are, whose they are, and the audio levels of their minutes.

- A stream is known by its two ends, SSRC and payload type. It is followed from its fifth packet on, if four of them
  came in order (RFC 3550, A.1 asks for two): what only looks like RTP does not come so far, and costs no memory.
- Nothing is kept of a packet. A minute is a histogram of each element that may be the level; minutes wait, bounded,
  until it is known which element that is.
- The client is the end with an address of a local network; if both or neither has one, the end that alone asks
  (STUN binding requests). Else nobody knows, and both directions are told.
"""

from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pcap_tools.capture.batch import Positions
from pcap_tools.capture.packets import Datagram, Segment
from pcap_tools.capture.sift import DNS_PORTS, Mask, Sifted
from pcap_tools.ends import Key, in_order
from pcap_tools.limits import ReadLimits
from pcap_tools.rtp.datagrams import Arrivals, SiftedArrivals, SingleArrivals, Times, Words
from pcap_tools.rtp.ends import Asked
from pcap_tools.rtp.packets import Packets, binding_requests, find_packets, read_details, stream_keys
from pcap_tools.rtp.stream import MINUTE_NS, Reading, Stream

_IN_ORDER = 3  # steps from one sequence number to the next, after the first packet that shows an SSRC
_FACTOR = 2654435761  # multiplicative hashing
_SLOTS = 1 << 16  # for what may become a stream; the newest takes a slot
_LATE_NS = 5 * 10**9  # so long after its end a minute may still get packets
_IDLE_MINUTES = 30  # a stream that was silent for so long is over


class RtpStreams:
    """Takes the UDP packets of a capture. `ready` and `finish` give minutes, `told` and `untold` the account."""

    def __init__(self, limits: ReadLimits) -> None:
        self.told: list[Stream] = []  # that are over
        self.untold = 0  # the rest, beyond the limits; of those that were not even followed, each of their batches
        self._limits = limits
        self._streams: OrderedDict[int, Stream] = OrderedDict()
        self._keys: Words = np.zeros(0, np.uint64)  # of these, sorted
        self._ssrcs = np.zeros(0, np.uint32)  # of these
        self._candidates = _Candidates()
        self._asked = Asked(limits.streams)
        self._ids: OrderedDict[Key, int] = OrderedDict()  # of levels, by the two ends
        self._ready: list[Reading] = []
        self._begun = 0  # streams so far
        self._minute = 0  # the last that all streams were looked through for
        self.is_over = False

    def take(self, sifted: Sifted, looked_at: Mapping[int, Segment | Datagram | None]) -> None:
        """Take the packets of a batch; `looked_at` has those that were taken apart, by frame."""
        if self.is_over:
            return
        if sifted.udp is not None:
            self._take(SiftedArrivals.of(sifted.batch, sifted.udp))
        frames = sifted.batch.frames[np.flatnonzero(sifted.others)].tolist()
        single = [one for frame in frames if isinstance(one := looked_at.get(frame), Datagram)]
        if single := [one for one in single if one.source_port not in DNS_PORTS]:
            self._take(SingleArrivals.of(single))

    def ready(self) -> list[Reading]:
        """Return the minutes that are known by now, and not given yet."""
        ready, self._ready = self._ready, []
        return ready

    def finish(self) -> list[Reading]:
        """Nothing more comes: return what is left."""
        self.is_over = True
        for _ in range(2):  # what one tells of the id, another may need
            for stream in self._streams.values():
                stream.close_minute()
                self._learn(stream, is_over=True)
        for stream in [*self._streams.values()]:
            self._end(stream)
        return self.ready()

    def _take(self, arrivals: Arrivals) -> None:
        if not len(arrivals.begins):
            return
        for row in binding_requests(arrivals).tolist():
            self._asked.add(*arrivals.path(row))
        packets = find_packets(arrivals)
        if len(packets.rows):  # of most batches none
            packets = packets.take(self._known_or_recurring(packets))
        if not len(packets.rows):
            return
        all_keys = stream_keys(arrivals, packets)
        order = np.argsort(all_keys, kind="stable")
        packets, all_keys = packets.take(order), all_keys[order]
        firsts = np.flatnonzero(np.diff(all_keys, prepend=~all_keys[:1]))
        keys = all_keys[firsts]
        bounds = np.append(firsts, len(order))
        is_known = self._is_known(keys)
        begins = np.where(is_known, firsts, self._candidates.take(packets, firsts, keys))
        latest = 0
        for group in np.flatnonzero(begins < bounds[1:]).tolist():
            part = packets.take(np.arange(begins[group], bounds[group + 1]))
            stream = self._streams.get(int(keys[group]))
            if stream is None and self._begun >= self._limits.streams:
                self.untold += 1
                continue
            stream = stream or self._begin(int(keys[group]), arrivals, part)
            self._streams.move_to_end(stream.key)
            times = arrivals.times(part.rows)
            self._feed(stream, arrivals, part, times)
            latest = max(latest, int(times[-1]) if times is not None else 0)
        if len(self._keys) != len(self._streams) or not is_known.all():
            self._index()
        if latest // MINUTE_NS > self._minute:
            self._tidy(latest)

    def _known_or_recurring(self, packets: Packets) -> Positions:
        ssrcs = packets.heads["ssrc"].astype(np.uint32)
        is_worth_it = np.isin(ssrcs, self._ssrcs)
        rest = np.flatnonzero(~is_worth_it)
        is_worth_it[rest] = self._candidates.recurs(ssrcs[rest])
        return np.flatnonzero(is_worth_it)

    def _is_known(self, keys: Words) -> Mask:
        if not len(self._keys):
            return np.zeros(len(keys), np.bool_)
        nearest = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.asarray(self._keys[nearest] == keys)

    def _begin(self, key: int, arrivals: Arrivals, packets: Packets) -> Stream:
        source, target = arrivals.path(packets.rows.item(0))
        head, sender = packets.heads[0], self._asked.sender(source, target)
        if len(self._streams) >= self._limits.rtp_streams:
            self._end(next(iter(self._streams.values())))
        self._begun += 1
        kind = int(head["second"]) & 127
        stream = self._streams[key] = Stream(key, source, target, int(head["ssrc"]), kind, sender, self._limits)
        return stream

    def _index(self) -> None:
        self._keys = np.sort(np.fromiter(self._streams, np.uint64, len(self._streams)))
        self._ssrcs = np.unique(np.array([stream.ssrc for stream in self._streams.values()], np.uint32))

    def _feed(self, stream: Stream, arrivals: Arrivals, packets: Packets, times: Times | None) -> None:
        if stream.is_worth_reading:
            stream.read(packets, read_details(arrivals, packets), arrivals.frames(packets.rows), times)
            self._learn(stream)
        else:
            stream.count(packets, arrivals.frames(packets.rows), times)

    def _learn(self, stream: Stream, *, is_over: bool = False) -> None:
        """Find out which element is the level, where that is not known, and give the minutes that wait for it."""
        if not (is_over or stream.has_closed):
            return
        if stream.level_id is None:
            ends = in_order(stream.source, stream.target)
            found = stream.choose(self._ids.get(ends), is_over=is_over or stream.is_full)
            if found is not None:
                self._ids[ends] = found
                if len(self._ids) > self._limits.streams:
                    self._ids.popitem(last=False)
        stream.sender = self._asked.sender(stream.source, stream.target)
        self._ready += stream.readings()

    def _tidy(self, now: int) -> None:
        """A new minute has begun: close the one before in all streams, and end those that are silent for long."""
        self._minute = now // MINUTE_NS
        for stream in [*self._streams.values()]:
            stream.close_minute(before=now - _LATE_NS)
            self._learn(stream)
            if stream.is_idle(now - _IDLE_MINUTES * MINUTE_NS):
                self._end(stream)
        self._index()

    def _end(self, stream: Stream) -> None:
        del self._streams[stream.key]
        stream.close_minute()
        self._learn(stream, is_over=True)
        stream.end()
        if len(self.told) < self._limits.rtp_told:
            self.told.append(stream)
        else:
            self.untold += 1


class _Candidates:
    """What may become a stream: of the last ones the newest sequence number, and how many came in order."""

    def __init__(self) -> None:
        self._ssrcs = np.zeros(_SLOTS, np.uint32)
        self._firsts = np.zeros(_SLOTS, np.intp)  # in which row of a batch each of these came first
        self._keys: Words = np.zeros(_SLOTS, np.uint64)
        self._last = np.zeros(_SLOTS, np.uint16)
        self._runs = np.zeros(_SLOTS, np.intp)

    def recurs(self, ssrcs: npt.NDArray[np.uint32]) -> Mask:
        """Say of each SSRC whether it came before: of what is no RTP hardly one does."""
        slots = (ssrcs * np.uint32(_FACTOR) >> np.uint32(16)).astype(np.intp)
        is_old = self._ssrcs[slots] == ssrcs
        rows = np.arange(len(slots))
        self._ssrcs[slots], self._firsts[slots[::-1]] = ssrcs, rows[::-1]
        return np.asarray(is_old | ((self._ssrcs[slots] == ssrcs) & (self._firsts[slots] != rows)))

    def take(self, packets: Packets, firsts: Positions, keys: Words) -> Positions:
        """Take in packets sorted by key, each group with its first at `firsts`.

        Return of each group from which packet on it is a stream; none of its own if it is not.
        """
        sequence = packets.heads["sequence"].astype(np.uint16)
        follows = np.diff(sequence, prepend=sequence[:1]) == 1
        follows[firsts] = False
        slots = (keys >> np.uint64(48)).astype(np.intp)
        is_same = self._keys[slots] == keys
        goes_on = is_same & (sequence[firsts] - self._last[slots] == 1)
        steps, lasts = np.cumsum(follows), np.append(firsts[1:], len(sequence)) - 1
        before = is_same * self._runs[slots] + goes_on
        self._keys[slots], self._last[slots] = keys, sequence[lasts]
        self._runs[slots] = np.minimum(before + steps[lasts] - steps[firsts], _IN_ORDER)
        return np.asarray(np.maximum(firsts, np.searchsorted(steps, steps[firsts] + _IN_ORDER - before)))
