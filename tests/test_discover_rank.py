"""Numbers that come from sound are found: with what was played, and by their behaviour alone."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutewatch.discover.behaviour import steady
from mutewatch.discover.correlate import CLOSE
from mutewatch.discover.gather import Gatherer
from mutewatch.discover.panel import Panel, panels
from mutewatch.discover.rank import Ranked, rank
from mutewatch.discover.reference import Recording, read_wav
from mutewatch.errors import InputError
from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange
from pcap_tools import read_inputs
from tests.discover_scene import AUDIO_FIELDS, RATE, START, decoys, getstats, meter, post, speech, write_wav

SEEDS = range(1, 4)
DRIVEN = "cpuUsage"  # by the same talk: it may follow, but not before what comes from the sound
MINUTES = 60


def panels_of(exchanges: Iterable[Exchange]) -> list[Panel]:
    gatherer = Gatherer(lambda _host: True)
    for exchange in exchanges:
        gatherer.add(exchange)
    return list(panels(gatherer))


def key(one: Ranked) -> str:
    return one.column.place[-1]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[list[Panel], Recording]]:
    """For each seed what a client told in an hour, and what was played."""
    folder = tmp_path_factory.mktemp("played")
    made = {}
    for seed in SEEDS:
        samples = speech(seed, MINUTES * 60)
        recording = read_wav(write_wav(folder / f"{seed}.wav", samples), START.timestamp())
        made[seed] = (panels_of(meter(samples, seed)), recording)
    return made


@pytest.mark.parametrize("seed", SEEDS)
def test_what_comes_from_the_sound_is_first_among_sixty_and_no_stranger_is_significant(
    scenes: dict[int, tuple[list[Panel], Recording]], seed: int
) -> None:
    told, recording = scenes[seed]
    ranking = rank(told, recording, names=False)
    assert len(ranking.fields) >= 60
    first = ranking.fields[: len(AUDIO_FIELDS)]
    assert {key(one) for one in first} == set(AUDIO_FIELDS)
    assert all(one.followed and one.followed.p < 0.01 for one in first)
    strangers = [key(one) for one in ranking.fields[len(AUDIO_FIELDS) :] if DRIVEN not in key(one)]
    assert [key(one) for one in ranking.fields if one.is_significant and key(one) in strangers] == []


@pytest.mark.parametrize("minutes", [-3, 2, 10])
def test_with_the_recording_shifted_by_minutes_nothing_is_significant(
    scenes: dict[int, tuple[list[Panel], Recording]], minutes: int
) -> None:
    found = []
    for told, recording in scenes.values():
        shifted = replace(recording, starts_at=recording.starts_at + 60 * minutes)
        found += [key(one) for one in rank(told, shifted, names=False).fields if one.is_significant]
    assert found == []


def test_with_the_minutes_of_the_recording_shuffled_nothing_is_significant(
    scenes: dict[int, tuple[list[Panel], Recording]],
) -> None:
    found = []
    for seed, (told, recording) in scenes.items():
        minutes = recording.power[: MINUTES * 1200].reshape(MINUTES, -1)
        shuffled = np.random.default_rng(seed).permutation(minutes).ravel()
        ranking = rank(told, replace(recording, power=shuffled), names=False)
        found += [key(one) for one in ranking.fields if one.is_significant]
    assert found == []


def test_a_recording_of_something_else_is_not_followed(scenes: dict[int, tuple[list[Panel], Recording]]) -> None:
    found = []
    for seed, (told, recording) in scenes.items():
        other = replace(scenes[1 + seed % len(SEEDS)][1], starts_at=recording.starts_at)
        found += [key(one) for one in rank(told, other, names=False).fields if one.is_significant]
    assert found == []


def test_who_knows_the_start_only_roughly_allows_for_it(scenes: dict[int, tuple[list[Panel], Recording]]) -> None:
    told, recording = scenes[1]
    late = replace(recording, starts_at=recording.starts_at - 25)
    ranking = rank(told, late, slack=30, names=False)
    first = ranking.fields[0]
    assert first.is_significant and first.followed is not None
    assert first.followed.lag == pytest.approx(25, abs=15)


def test_what_agrees_better_with_another_time_is_not_significant_and_it_is_said(
    scenes: dict[int, tuple[list[Panel], Recording]],
) -> None:
    told, recording = scenes[1]
    minute = np.arange(len(recording.power)) / 1200
    swell = 10 ** (-3 + np.sin(minute / 3) + 0.6 * np.sin(minute / 4.3 + 1))  # it is much as it was a while ago
    slow = replace(recording, power=swell)
    late = slow.windows(told[0].ends - 105, told[0].period)[0]
    panel = replace(told[0], columns=(replace(told[0].columns[0], values=late),))
    (one,) = rank([panel], slow, names=False).fields
    assert one.followed is not None and one.followed.is_elsewhere
    assert not one.is_significant and "another time" in one.why


def test_too_few_minutes_are_said(scenes: dict[int, tuple[list[Panel], Recording]]) -> None:
    told, recording = scenes[1]
    panel = told[0]
    few = replace(
        panel,
        ends=panel.ends[:9],
        columns=tuple(
            cut for one in panel.columns if np.ptp((cut := replace(one, values=one.values[:9])).values[1:]) > 0
        ),
    )
    ranking = rank([few], recording, names=False)
    assert ranking.tested is not None
    assert ranking.tested.least_p > 0.01
    assert not any(one.is_significant for one in ranking.fields)


def test_the_same_twice_is_the_same(scenes: dict[int, tuple[list[Panel], Recording]]) -> None:
    told, recording = scenes[2]
    a, b = (rank(told, recording, names=False) for _ in range(2))
    assert [(key(one), one.followed) for one in a.fields] == [(key(one), one.followed) for one in b.fields]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_level_and_energy_of_getstats_come_first_by_behaviour_alone(seed: int) -> None:
    ranking = rank(panels_of(getstats(speech(seed, 1800), seed)), names=False)
    assert {key(one) for one in ranking.fields[:2]} == {"audioLevel", "totalAudioEnergy"}
    assert len(ranking.fields) > 25
    only_energy = rank(panels_of(getstats(speech(seed, 1800), seed, audio_level=False)), names=False)
    assert key(only_energy.fields[0]) == "totalAudioEnergy"


def test_level_and_energy_of_getstats_follow_the_recording(tmp_path: Path) -> None:
    samples = speech(4, 1800)
    recording = read_wav(write_wav(tmp_path / "played.wav", samples), START.timestamp())
    ranking = rank(panels_of(getstats(samples, 4)), recording, names=False)
    assert [key(one) for one in ranking.fields if one.is_significant] == ["totalAudioEnergy", "audioLevel"]


@pytest.mark.shared
@pytest.mark.parametrize("names", [False, True])
def test_the_gains_of_the_real_log_come_first_though_no_signature_is_asked(shared: Path, names: bool) -> None:
    log = shared / "data/webex/xdbg_log_first_half.txt"
    if not log.is_file():
        pytest.skip(f"no Webex log at {log}")
    gatherer = Gatherer(lambda _host: True)
    try:
        for exchange in read_inputs([log], ReadOptions()):
            gatherer.add(exchange)
    except InputError as error:  # damage is of no interest here
        assert "not read" in str(error)
    ranking = rank(panels(gatherer), names=names)
    assert len(ranking.fields) >= 50
    gains = {"audioMaxGain", "audioMeanGain", "audioMinGain"}
    assert {key(one) for one in ranking.fields[:3]} == gains  # asked for: among the first ten by behaviour alone
    assert all("threadCount" not in key(one) and "Memory" not in key(one) for one in ranking.fields[:20])


def test_what_a_delta_leaves_out_has_not_changed() -> None:
    levels = np.repeat(np.random.default_rng(5).random(20), 2)
    reports = ({"a": {"level": v} if not i % 2 else {}, "n": i} for i, v in enumerate(levels))
    (panel,) = panels_of(post(10.0 * i, {"r": report}) for i, report in enumerate(reports))
    (level,) = (one for one in panel.columns if one.place[-1] == "level")
    assert level.values.tolist() == levels.tolist()


def test_what_a_full_report_leaves_out_is_not_there() -> None:
    levels = np.random.default_rng(5).random(40)
    reports = ({"a": {"level": v} if i % 2 else {}, "width": 7 + (i > 20)} for i, v in enumerate(levels))
    (panel,) = panels_of(post(10.0 * i, {"r": report}) for i, report in enumerate(reports))
    (level,) = (one for one in panel.columns if one.place[-1] == "level")
    assert np.isnan(level.values[::2]).sum() >= 18


NUMBERS = st.floats() | st.integers(-(10**31), 10**31) | st.sampled_from((0, 1, -0.0, 1e29, 5e-324))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 90), NUMBERS, NUMBERS), min_size=8, max_size=60),
    st.booleans(),
)
def test_no_numbers_of_the_wire_make_a_score_that_is_none(rows: list[tuple[int, float, float]], is_heard: bool) -> None:
    power = np.random.default_rng(1).random(2_000)
    told = panels_of(post(second, {"a": a, "b": b}) for second, a, b in rows)
    ranking = rank(told, Recording(power, START.timestamp()) if is_heard else None, slack=2, names=True)
    for one in ranking.fields:
        assert 0 <= one.score <= 1 and np.isfinite(one.range).all()
        assert one.followed is None or (0 <= one.followed.p <= 1 and abs(one.followed.correlation) <= 1.0001)


def test_a_pause_of_years_leaves_the_rest_as_it_was() -> None:
    levels = np.random.default_rng(2).random(80)
    minutes = np.concatenate((np.arange(40), 1_000_000 + np.arange(40)))
    (panel,) = panels_of(post(60.0 * minute, {"level": v}) for minute, v in zip(minutes, levels, strict=True))
    known = np.isfinite(panel.columns[0].values)
    assert panel.period == 60 and len(panel.ends) < 95
    assert panel.columns[0].values[known].tolist() == levels.tolist()
    assert panel.ends[known] - START.timestamp() == pytest.approx(60 * minutes, abs=1)


def test_a_running_total_is_ranked_by_its_growth_also_across_a_new_beginning() -> None:
    random = np.random.default_rng(3)
    growth = random.gamma(0.3, 1, 60)
    total = np.concatenate((np.cumsum(growth[:30]), np.cumsum(growth[30:])))
    (panel,) = panels_of(post(60.0 * i, {"total": value}) for i, value in enumerate(total))
    growths = next(one.values for one in panel.columns if one.is_growth)
    known = np.isfinite(growths)
    assert known.sum() == 58 and growths[known] == pytest.approx(np.delete(growth, [0, 30]))


def test_the_widths_of_wav_agree(tmp_path: Path) -> None:
    samples = speech(1, 5)
    powers = [read_wav(write_wav(tmp_path / f"{width}.wav", samples, width), 0).power for width in (2, 3, 4)]
    expected = (samples.reshape(-1, RATE // 20) ** 2).mean(axis=1)
    for power in powers:
        assert power == pytest.approx(expected, abs=1e-5)


def told_of(recording: Recording, seed: int, period: float, delay: float) -> list[Panel]:
    """A client that tells, each `period` seconds and so much later, of the mean level and of the one at the moment."""
    random = np.random.default_rng(seed)
    ends = np.arange(period, recording.ends_at - recording.starts_at - delay, period)
    strange = {name: values.tolist() for name, values in decoys(random, len(ends))}
    heard = recording.starts_at + ends
    fields = {
        "mean": (recording.windows(heard, period)[0] + random.normal(0, 0.5, len(ends))).tolist(),
        "moment": (10 ** (recording.level(heard, 0.1) / 20)).tolist(),
        **strange,
    }
    times = ends + delay + random.uniform(0, 0.1, len(ends))
    reports = ({name: round(values[i], 4) for name, values in fields.items()} for i in range(len(ends)))
    return panels_of(post(float(at), report) for at, report in zip(times, reports, strict=True))


def house(seed: int, seconds: int) -> Recording:
    """One sound after another for minutes, loud or soft: a minute later it is often still the same."""
    random = np.random.default_rng(seed)
    lengths = random.integers(400, 4_800, seconds // 20)
    power = np.repeat(10 ** random.uniform(-6.5, -2.5, len(lengths)), lengths)[: seconds * 20]
    return Recording(power * random.gamma(8, 1 / 8, len(power)), START.timestamp())


@pytest.mark.parametrize(("period", "delay"), [(1.0, 4.3), (5.0, 3.3), (10.0, 1.7), (60.0, 4.3)])
def test_what_is_told_seconds_late_is_found_and_so_is_the_level_of_a_moment(period: float, delay: float) -> None:
    samples = speech(7, 900 if period < 10 else 3600)
    recording = Recording((samples.reshape(-1, RATE // 20) ** 2).mean(axis=1), START.timestamp())
    told = told_of(recording, 7, period, delay)
    for slack, start in ((CLOSE, 0.0), (40.0, -19.0)):  # the start is known, or only roughly
        ranking = rank(told, replace(recording, starts_at=recording.starts_at + start), slack, names=False)
        assert {key(one) for one in ranking.fields if one.is_significant} == {"mean", "moment"}, slack


@pytest.mark.parametrize("period", [10.0, 60.0])
def test_a_minute_off_nothing_follows_though_the_sound_goes_on_for_minutes(period: float) -> None:
    for seed in range(2):
        recording = house(seed, 60 * 60 if period == 60 else 25 * 60)
        told = told_of(recording, seed, period, 0.7)
        for minutes in (-1, 0, 1):
            late = replace(recording, starts_at=recording.starts_at + 60 * minutes)
            ranking = rank(told, late, CLOSE, names=False)
            expected = set() if minutes else {"mean", "moment"}
            assert {key(one) for one in ranking.fields if one.is_significant} == expected, (seed, minutes)


def test_reports_that_come_a_little_late_are_compared_with_their_own_time() -> None:
    random = np.random.default_rng(6)
    late = random.uniform(0, 0.4, 400)
    (panel,) = panels_of(post(10.0 * i + late[i], {"a": random.random()}) for i in range(400))
    assert panel.period == pytest.approx(10, abs=0.01) and len(panel.ends) == 400
    assert panel.ends - START.timestamp() == pytest.approx(10.0 * np.arange(400) + late, abs=1e-3)


def test_what_begins_to_sound_is_no_trend_but_a_counter_is_one() -> None:
    random = np.random.default_rng(8)
    quiet = 22 + random.integers(-1, 2, 60).astype(float)
    assert steady(np.concatenate((quiet, quiet + 26))) > 0.8
    assert steady(np.cumsum(random.poisson(3000, 120)).astype(float)) == 0
    assert steady(np.cumsum(random.gamma(0.3, 1, 120))) == 0
    assert steady(np.arange(120) + random.normal(0, 0.2, 120)) < 0.2


@pytest.mark.parametrize("period", [1, 10])
def test_energy_is_the_square_of_a_level_and_a_sum_of_delays_is_not(period: int) -> None:
    power = np.repeat(10 ** np.random.default_rng(9).normal(-3, 0.15, 60), 10)  # steady, as music is
    samples = np.random.default_rng(9).normal(size=600 * RATE) * np.sqrt(np.repeat(power, RATE))
    ranking = rank(panels_of(getstats(np.clip(samples, -1, 1), 9, period)), names=False)
    assert {key(one) for one in ranking.fields[:2]} == {"audioLevel", "totalAudioEnergy"}
    assert all("moves with siblings" in one.why for one in ranking.fields[:2])
