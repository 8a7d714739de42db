"""Stores for the page: what a report is drawn from, with known counts."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from mutewatch.records import (
    ActivityGuess,
    AudioValue,
    Basis,
    Finding,
    Information,
    MuteSummary,
    Origin,
    Role,
    Samples,
    SignatureRef,
    Source,
    Verdict,
)
from mutewatch.store import Store
from mutewatch.uninspected import Passed, Tally, replace_all

DAY = datetime(2026, 3, 2, tzinfo=UTC)
TSA = SignatureRef("webex.tsa.v1", 1, "Webex", "captured")
JITSI = SignatureRef("jitsi.rtcstats", 1, "Jitsi Meet", "code")
MINUTE = timedelta(minutes=1)
ACTIVITIES = ("cleaning", "cooking", "keyboard", "music")


def finding(
    client: str,
    number: int,
    verdict: Verdict = Verdict.FLAGGED,
    *,
    day: datetime = DAY,
    call: str = "call-1",
    file: str = "meeting.pcapng",
    gains: tuple[int, int, int] = (28, 23, 17),
    guess: ActivityGuess | None = None,
    reason: str = "audio-derived data left while the client was muted (client-reported)",
) -> Finding:
    """The minute `number` of a day, of a client that sends what Webex sends."""
    ends_at = end_of(number, day)
    muted = {Verdict.FLAGGED: 60.0, Verdict.MUTE_UNKNOWN: 0.0}.get(verdict, 0.0)
    unknown = 60.0 if verdict is Verdict.MUTE_UNKNOWN else 0.0
    is_seen = verdict is not Verdict.MISSING
    names = (("audioMaxGain", Role.MAX_GAIN), ("audioMeanGain", Role.MEAN_GAIN), ("audioMinGain", Role.MIN_GAIN))
    sha = hashlib.sha256(f"{client} {call} {ends_at}".encode()).hexdigest()
    source = Source(TSA, Origin("pcap", file, number + 1, 50 + 6 * number, 3), sha, ends_at, "client-0123456789ab")
    return Finding(
        verdict=verdict,
        rule="MW-MUTED" if verdict is Verdict.FLAGGED else f"MW-{verdict.value.upper()}",
        rules_version=1,
        reason=reason,
        client=client,
        call=call,
        minute=f"{ends_at:%Y%m%d}-{number}",
        signature=TSA,
        starts_at=ends_at - MINUTE,
        ends_at=ends_at,
        mute=MuteSummary(muted, 60 - muted - unknown, unknown, (Basis.CLIENT_REPORTED,)),
        values=tuple(AudioValue(n, v, "dB", 0, r) for (n, r), v in zip(names, gains, strict=True)) if is_seen else (),
        source=source if is_seen else None,
        guess=guess,
    )


def sampled(client: str, number: int, lowest: float, mean: float, highest: float, **more: Any) -> Finding:
    """The minute `number` of a client whose minutes are made of samples, as Jitsi's are."""
    told = finding(client, number, **more)
    assert told.source is not None
    levels = (("max", highest), ("mean", mean), ("min", lowest))
    return replace(
        told,
        signature=JITSI,
        source=replace(told.source, signature=JITSI),
        values=tuple(AudioValue(f"audioLevel.{what}", level, "1", 0) for what, level in levels),
        information=(Information("audioLevel", "1", 0, 6, 6, lowest, highest, 2.585),),
        samples=Samples(6, 6, 6),
    )


def end_of(number: int, day: datetime = DAY) -> datetime:
    """Twenty seconds before the full minute, so that 1,440 of them end within the day."""
    return day + MINUTE * (number + 1) - timedelta(seconds=20)


def guess_of(label: str, probability: float, ends_at: datetime) -> ActivityGuess:
    return ActivityGuess("model@1", label, {label: probability}, ends_at - MINUTE * 7, ends_at, 7, 0)


def day_of(client: str, seed: int, day: datetime = DAY, minutes: int = 1440) -> Iterator[Finding]:
    """The first minutes of a client's day: stretches of every verdict, with gains that wander."""
    chance = random.Random(seed)
    number = 0
    mean = 30
    shares = dict.fromkeys(Verdict, 6) | {Verdict.FLAGGED: 30, Verdict.UNMUTED: 30, Verdict.UNDECODED: 0}
    while number < minutes:
        (verdict,) = chance.choices(list(shares), list(shares.values()))
        label = chance.choice(ACTIVITIES)
        for _ in range(min(chance.randint(2, 45), minutes - number)):
            mean = min(45, max(18, mean + chance.randint(-3, 3)))
            gains = (mean + chance.randint(2, 9), mean, mean - chance.randint(2, 9))
            ends_at = end_of(number, day)
            guess = guess_of(label, chance.uniform(0.5, 0.99), ends_at) if verdict is Verdict.FLAGGED else None
            yield finding(client, number, verdict, day=day, gains=gains, guess=guess)
            number += 1


def name_of(number: int) -> str:
    """The pseudonym of a made-up client."""
    return f"client-{hashlib.sha256(str(number).encode()).hexdigest()[:12]}"


def write_store(path: Path, findings: Sequence[Finding], passed: Sequence[Passed] = ()) -> Path:
    """A store with these findings, one input they are from, and what of it was not inspected."""
    tally = Tally(str)
    for one in passed:
        tally.add(one)
    with Store(path) as store:
        for start in range(0, len(findings), 5000):
            store.record((), findings[start : start + 5000])
        with store.begin() as connection:
            replace_all(connection, "meeting.pcapng", tally)
        store.record_input("meeting.pcapng", {"matched": len(findings), "decoded": len(findings)}, None)
    return path


def write_large_store(path: Path, clients: int) -> Path:
    """A store with so many clients of 24 hours each."""
    with Store(path) as store:
        for number in range(clients):
            store.record((), list(day_of(name_of(number), number)))
        store.record_input("made up", {"matched": clients * 1440, "decoded": clients * 1440}, None)
    return path
