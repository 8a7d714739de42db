"""What the tests of `discover` look into: a sound, and clients that tell of it among much else.

All of it is made of seeds. `speech` is talk in turns over the noise of a room; `meter` a made-up client whose reports
carry values computed from what was played; `getstats` a client that sends the reports of its peer connection as Jitsi
does, over a websocket, without what has not changed.
"""

import gzip
import json
import wave
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mutewatch.records import Exchange, Origin

Array = npt.NDArray[np.float64]

RATE = 2_000  # Hz: enough for levels
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOST = "stats.meter.example"


def speech(seed: int, seconds: int) -> Array:
    """Return samples from -1 to 1: turns of talk of other lengths and loudness, syllables, and the room's noise."""
    random = np.random.default_rng(seed)
    loudness = np.zeros(seconds * RATE)
    at, is_talking = 0, False
    while at < len(loudness):
        length = int(random.exponential(20 if is_talking else 12) * RATE) + RATE // 4
        loudness[at : at + length] = 10 ** random.normal(-1.0, 0.25) if is_talking else 0
        at, is_talking = at + length, not is_talking
    syllables = np.repeat(random.uniform(0.05, 1, len(loudness) // (RATE // 5) + 1), RATE // 5)[: len(loudness)]
    samples = random.normal(size=len(loudness)) * (loudness * syllables * 0.4 + 5e-4)
    return np.clip(samples, -1, 1)


def write_wav(path: Path, samples: Array, width: int = 2) -> Path:
    """Write samples as PCM of `width` bytes."""
    whole = np.rint(samples * ((1 << (8 * width - 1)) - 1)).astype("<i4")
    data = whole.view(np.uint8).reshape(-1, 4)[:, :width] if width < 4 else whole.view(np.uint8)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(RATE)
        file.writeframes(np.ascontiguousarray(data).tobytes())
    return path


def decibels(power: Array) -> Array:
    return 10 * np.log10(np.maximum(power, 1e-12))


def post(at: float, body: object, path: str = "/v2/report/8f3a11c09d") -> Exchange:
    """Return a report as a door gives it, `at` seconds after the start."""
    return message(at, json.dumps(body).encode(), method="POST", path=path)


def message(at: float, body: bytes, *, method: str = "WEBSOCKET", path: str = "/rtcstats") -> Exchange:
    return Exchange(
        sent_at=START + timedelta(seconds=at),
        client="192.0.2.7",
        host=HOST,
        port=443,
        method=method,
        path=path,
        query="",
        body=body,
        origin=Origin("test"),
        connection="192.0.2.7:50000",
    )


AUDIO_FIELDS = ("inputGainMin", "inputGainMean", "nearPower", "speechTotal")


def meter(samples: Array, seed: int, period: int = 60) -> Iterator[Exchange]:
    """Yield the reports of a client that hears `samples`: four values of them among sixty others, packed as Webex does.

    Of these CPU loads are driven by the same talk; all others know nothing of it.
    """
    random = np.random.default_rng(seed)
    count = len(samples) // (RATE * period)
    frames = (samples[: count * period * RATE].reshape(count, -1, RATE // 10) ** 2).mean(axis=2)  # of 100 ms
    mean = decibels(frames.mean(axis=1))
    talk = (decibels(frames) > -45).mean(axis=1)
    fields: dict[str, Array] = {
        "inputGainMin": np.round(10 - 0.6 * decibels(frames.max(axis=1))),
        "inputGainMean": np.round(10 - 0.6 * mean),
        "nearPower": np.round(mean + random.normal(0, 0.5, count), 2),
        "speechTotal": np.cumsum(frames.mean(axis=1)) * period,
    }
    fields |= {f"cpuUsage{i}": np.round(9 + 12 * talk + random.normal(0, 3, count), 1) for i in range(3)}
    fields |= {name: np.round(values, 3) for name, values in decoys(random, count)}
    for i in range(count):
        inner = {"levels": {}, "common": {}, "ts": 1_772_442_000_000 + i * period * 1000, "flag": True, "size": 720}
        for name, values in fields.items():
            inner["levels" if name in AUDIO_FIELDS else "common"][name] = float(values[i])  # type: ignore[index]
        packed = b64encode(gzip.compress(json.dumps({"intervals": [inner]}).encode(), mtime=0)).decode()
        late = float(random.uniform(0, 0.4))
        yield post((i + 1) * period + late, {"user": "jane.doe@example.test", "v": {"packed": packed}})


def decoys(random: np.random.Generator, count: int) -> Iterator[tuple[str, Array]]:
    """Yield 57 fields that know nothing of the sound: counters, trends, jitter, states, and wanderings."""
    steps = random.normal(size=(60, count))
    for i in range(14):
        yield f"packets{i}", np.cumsum(random.poisson(3000 / (i + 1), count)).astype(float)
    for i in range(8):
        yield f"memory{i}", 100.0 * i + np.arange(count) * random.normal() + steps[i]
    for i in range(12):
        yield f"jitter{i}", random.gamma(2, 3, count)
    for i in range(8):
        yield f"drift{i}", np.cumsum(steps[10 + i])
    for i in range(7):
        wander = np.zeros(count)
        for k in range(1, count):
            wander[k] = 0.9 * wander[k - 1] + steps[20 + i, k]
        yield f"bandwidth{i}", 900 + 40 * wander
    for i in range(6):
        yield f"threads{i}", np.repeat(random.integers(10, 14, count // 12 + 1), 12)[:count].astype(float)
    yield "load", np.abs(steps[40]) ** 3
    yield "wave", np.sin(np.arange(count) / 5) + 0.1 * steps[41]


def getstats(samples: Array, seed: int, period: int = 10, audio_level: bool = True) -> Iterator[Exchange]:
    """Yield the messages of a client that sends getStats reports every `period` seconds, less what has not changed."""
    random = np.random.default_rng(seed)
    told: dict[str, dict[str, Any]] = {}
    count = len(samples) // (RATE * period)
    totals: dict[str, float] = {}

    def total(name: str, growth: float) -> float:
        totals[name] = totals.get(name, 0.0) + growth
        return round(totals[name], 6)

    rate = 900_000.0
    for i in range(count):
        heard = samples[i * period * RATE : (i + 1) * period * RATE]
        rate = float(np.clip(rate + random.normal(0, 40_000), 3e5, 2.5e6))
        size = rate / 8 * period
        trip = round(0.02 + float(random.gamma(2, 0.01)), 3)
        report: dict[str, dict[str, Any]] = {
            "SA1": {
                "type": "media-source",
                "kind": "audio",
                "trackIdentifier": "f1c0",
                "totalAudioEnergy": total("energy", float((heard**2).mean() * period)),
                "totalSamplesDuration": total("duration", period),
                "echoReturnLoss": -30,
            },
            "SV2": {
                "type": "media-source",
                "kind": "video",
                "frames": total("frames", 30 * period - int(random.integers(0, 3))),
                "framesPerSecond": 30 - int(random.integers(0, 3)),
                "width": 1280,
            },
            "OTA": {
                "type": "outbound-rtp",
                "kind": "audio",
                "bytesSent": total("abytes", 50.0 * period * 80 + int(random.normal(0, 300))),
                "packetsSent": total("apackets", 50.0 * period),
                "totalPacketSendDelay": total("adelay", float(random.gamma(2, 0.05))),
                "targetBitrate": 32000,
            },
            "OTV": {
                "type": "outbound-rtp",
                "kind": "video",
                "bytesSent": total("vbytes", size),
                "headerBytesSent": total("vheader", size / 40),
                "packetsSent": total("vpackets", size // 1100),
                "framesEncoded": total("vframes", 30 * period - int(random.integers(0, 4))),
                "keyFramesEncoded": total("vkeys", int(random.random() < 0.1)),
                "totalEncodeTime": total("vtime", float(random.normal(1.5, 0.1))),
                "qpSum": total("qp", float(random.normal(30 * period * 20, 200))),
                "retransmittedPacketsSent": total("vagain", int(random.poisson(2))),
                "targetBitrate": round(rate),
                "totalPacketSendDelay": total("vdelay", float(random.gamma(2, 2))),
                "nackCount": total("nack", int(random.poisson(1))),
            },
            "RIA": {
                "type": "remote-inbound-rtp",
                "kind": "audio",
                "jitter": round(float(random.gamma(2, 0.002)), 6),
                "roundTripTime": trip,
                "totalRoundTripTime": total("trips", trip),
                "roundTripTimeMeasurements": total("measured", 2),
                "fractionLost": 0,
                "packetsLost": total("lost", int(random.poisson(0.3))),
            },
            "CP1": {
                "type": "candidate-pair",
                "bytesSent": total("cbytes", size * 1.05),
                "bytesReceived": total("rbytes", float(random.gamma(9, 1e5))),
                "currentRoundTripTime": trip,
                "availableOutgoingBitrate": round(rate * 1.1),
                "responsesReceived": total("responses", 4),
                "priority": 7241,
            },
        }
        if audio_level:
            report["SA1"]["audioLevel"] = round(float(np.abs(heard[-RATE // 10 :]).max()), 6)
        delta = {name: _changed(values, told.get(name, {})) for name, values in report.items()}
        told = report
        at = (i + 1) * period
        stamp = round(START.timestamp() * 1000) + at * 1000
        entry = ["getstats", "PC_0", {**{k: v for k, v in delta.items() if v}, "timestamp": stamp}, stamp, i + 2]
        body = {"statsSessionId": "S1", "type": "stats-entry", "data": json.dumps(entry)}
        yield message(at + float(random.uniform(0, 0.2)), json.dumps(body).encode())
        if i % 3 == 0:
            yield message(at + 1.0, b'{"statsSessionId":"S1","type":"keepalive"}')


def _changed(values: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if before.get(key) != value}
