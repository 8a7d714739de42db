"""Captures of a real WebRTC stack: aiortc sends to itself through a relay, which keeps what passes.

What is written of a packet is what left the stack, byte for byte. Its time is made: the stack is not made to wait for
real time, and `STRETCH` seconds pass in the capture for each second of sound by the RTP timestamps.
"""

import asyncio
import re
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Any
from unittest.mock import patch

import aioice.ice
import numpy as np
import numpy.typing as npt
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av.audio.frame import AudioFrame

from tests.captures.links import LINKS, Frame, udp

START = 1_772_442_000 * 10**9  # 2026-03-02T09:00:00Z
RATE, FRAME = 48_000, 960
STRETCH = 10
FRAMES_A_MINUTE = 60 * RATE // FRAME // STRETCH
CLIENT, SERVER = ("192.168.1.7", 50_000), ("203.0.113.5", 3_478)

Samples = npt.NDArray[np.int16]
AUDIO_LEVEL = "ssrc-audio-level"


def tone(level: float) -> Samples:
    """Return 20 ms of a tone of 1 kHz at this level in dBov: a square wave at full scale has 0 (RFC 6464, 3)."""
    wave: Samples = np.sin(2 * np.pi * 1_000 / RATE * np.arange(FRAME)) * np.sqrt(2) * 32_767 * 10 ** (level / 20)
    return wave.round().astype(np.int16)


SILENCE: Samples = np.zeros(FRAME, np.int16)  # what a browser sends of a track with `enabled = false`


class _Sound(MediaStreamTrack):  # type: ignore[misc]
    kind = "audio"

    def __init__(self, frames: Sequence[Samples]) -> None:
        super().__init__()
        self._frames, self._next = frames, 0
        self.is_over = asyncio.Event()

    async def recv(self) -> AudioFrame:
        await asyncio.sleep(0)
        if self._next >= len(self._frames):
            self.is_over.set()
            raise MediaStreamError
        frame = AudioFrame.from_ndarray(self._frames[self._next].reshape(1, -1), format="s16", layout="mono")
        frame.pts, frame.sample_rate, frame.time_base = self._next * FRAME, RATE, Fraction(1, RATE)
        self._next += 1
        return frame


class _Socket(asyncio.DatagramProtocol):
    """One side of the relay. It passes on what is no RTP: nobody listens to the sound."""

    def __init__(self, kept: list[tuple[bool, bytes]], from_client: bool) -> None:
        self.kept, self.from_client = kept, from_client
        self.other: _Socket | None = None
        self.peer: tuple[str, int] | None = None
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.peer = addr
        self.kept.append((self.from_client, data))
        other = self.other
        if not is_media(data) and other is not None and other.transport is not None and other.peer is not None:
            other.transport.sendto(data, other.peer)


def is_media(data: bytes) -> bool:
    return data[0] >> 6 == 2 and not 192 <= data[1] <= 223


async def _send(frames: Sequence[Samples], *, with_level: bool) -> list[tuple[bool, bytes]]:
    kept: list[tuple[bool, bytes]] = []
    loop = asyncio.get_running_loop()
    sides = []
    for from_client in (True, False):
        local = ("127.0.0.1", 0)
        sides.append((await loop.create_datagram_endpoint(lambda side=from_client: _Socket(kept, side), local))[1])  # type: ignore[misc]
    near, far = sides
    near.other, far.other = far, near
    sender, receiver, sound = RTCPeerConnection(), RTCPeerConnection(), _Sound(frames)
    sender.addTrack(sound)
    await sender.setLocalDescription(await sender.createOffer())
    offer, near.peer = _through(sender.localDescription, far, with_level=with_level)
    await receiver.setRemoteDescription(offer)
    await receiver.setLocalDescription(await receiver.createAnswer())
    answer, far.peer = _through(receiver.localDescription, near, with_level=with_level)
    await sender.setRemoteDescription(answer)
    await sound.is_over.wait()
    await asyncio.gather(sender.close(), receiver.close())
    for side in sides:
        if side.transport is not None:
            side.transport.close()
    return kept


def _through(
    description: RTCSessionDescription, side: _Socket, *, with_level: bool
) -> tuple[RTCSessionDescription, tuple[str, int]]:
    """Return the description with the relay's address for its own, and its own."""
    assert side.transport is not None
    port = side.transport.get_extra_info("sockname")[1]
    sdp = description.sdp if with_level else re.sub(rf"a=extmap:.*{AUDIO_LEVEL}\r\n", "", description.sdp)
    found = re.search(r"a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1 (\d+) typ host", sdp)
    assert found is not None
    return RTCSessionDescription(sdp.replace(f" {found[1]} typ", f" {port} typ"), description.type), (
        "127.0.0.1",
        int(found[1]),
    )


def recorded(frames: Sequence[Samples], *, with_level: bool = True) -> list[Frame]:
    """Return what a client sends of this sound, and what comes back, as frames of a capture."""
    with patch.object(aioice.ice, "get_host_addresses", lambda **_versions: ["127.0.0.1"]):
        kept = asyncio.run(_send(frames, with_level=with_level))
    first: int | None = None
    at, found = START, []
    for from_client, data in kept:
        if from_client and is_media(data):
            (stamp,) = struct.unpack_from(">I", data, 4)
            first = stamp if first is None else first
            at = START + (stamp - first) % (1 << 32) * 10**9 * STRETCH // RATE
        ends = (CLIENT, SERVER) if from_client else (SERVER, CLIENT)
        found.append(Frame(at, LINKS["ethernet"].wrap(udp(*ends, data), from_client)))
    return found
