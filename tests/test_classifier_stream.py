import math
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.configuration import configuration
from classifier.gate import CERTAIN
from classifier.manifest import WEIGHTS, ModelError, load_weights, weights_path
from classifier.mlp_stats import MLPStats
from classifier.model import CLASSES
from classifier.stream import ActivityStream, load_model, rounded
from mutewatch.records import ActivityGuess, AudioReport
from tests.classifier_minutes import START, call_of, made_up_gains, report_of

MODELS = [load_weights(weights_path(WEIGHTS, configuration().default, length)) for length in (7, 3)]
MODEL = load_model()
GAINS = st.tuples(*[st.floats() | st.integers()] * 3)


def guess(minutes: list[AudioReport]) -> ActivityGuess:
    found = MODEL.guesses([minutes])[0]
    assert found is not None
    return found


def barking(numbers: Sequence[int]) -> list[AudioReport]:
    """Return minutes that sound like a dog: quiet but for loud moments, every minute."""
    gains = made_up_gains("dog_barking2", 50, max(numbers) + 1, 1)
    return [report_of(number, gains[number]) for number in numbers]


def test_a_full_window_gets_a_label_and_its_probabilities() -> None:
    found = guess(barking(range(7)))
    assert found.label == "dog" and found.reason is None
    assert tuple(found.probabilities) == CLASSES
    assert max(found.probabilities.values()) == found.probabilities["dog"] >= CERTAIN
    assert math.isclose(sum(found.probabilities.values()), 1, abs_tol=1e-12)


def test_three_minutes_are_enough_for_a_first_guess() -> None:
    found = guess(barking(range(3)))
    assert (found.label, found.minutes, found.model) == ("dog", 3, MODELS[1].manifest.model_id)


def test_a_guess_tells_model_span_and_minutes() -> None:
    found = guess(barking([0, 1, 2, 4, 5, 6, 7]))
    assert found.model == MODELS[0].manifest.model_id == MODEL.model_id
    assert found.window_starts_at == START
    assert found.window_ends_at == START + timedelta(minutes=8)
    assert (found.minutes, found.minutes_missing) == (7, 1)


@pytest.mark.parametrize(
    ("minutes", "reason", "count"),
    [
        (call_of(range(2)), "warming up: 2 of 3 minutes", 2),
        (call_of([0, 1, 2, 3, 8, 9]), "warming up: 2 of 3 minutes after a gap of 5 minutes", 2),
        (call_of([0, 1, 3, 5]), "gap: 2 minutes missing between the last 3 readings", 3),
        (call_of(range(7), (97, 97, 97)), "values outside what the model was trained on", 7),
        (call_of([0], (97, 97, 97)), "values outside what the model was trained on", 1),
        (call_of(range(7), (0, 0, 0)), "values outside what the model was trained on", 7),
        ([report_of(n, (52, 49 + n % 2, 46)) for n in range(7)], "quiet: near silence", 7),
        (call_of(range(7), (46, 38, 27)), "still: the values hardly moved", 7),
        ([report_of(n, (50, 40, 35) if n % 2 else (12, 8, 4)) for n in range(7)], "unfamiliar: unlike", 7),
    ],
)
def test_where_no_activity_can_be_told_the_model_declines(minutes: list[AudioReport], reason: str, count: int) -> None:
    found = guess(minutes)
    assert found.label is None and found.probabilities == {}
    assert str(found.reason).startswith(reason)
    assert found.minutes == count and found.window_ends_at == minutes[-1].ends_at


def test_where_it_cannot_decide_the_model_shows_the_two_highest() -> None:
    flat = {name: np.zeros_like(tensor) for name, tensor in MODELS[0].network.tensors.items() if name != "scale"}
    undecided = replace(MODELS[0], network=MLPStats(flat | {"scale": MODELS[0].network.tensors["scale"]}))
    found = ActivityStream([undecided, MODELS[1]], 1).guesses([barking(range(7))])[0]
    assert found is not None and found.label is None
    assert found.reason == "uncertain: music 17%, cooking 17%"
    assert tuple(found.probabilities) == CLASSES


@pytest.mark.parametrize(
    "minutes",
    [
        [],
        call_of(range(7), ()),
        call_of(range(7), (40, 30)),
        [*call_of(range(7)), report_of(7, ())],
    ],
    ids=["nothing", "no gains", "two of three", "last without gains"],
)
def test_values_of_another_kind_get_no_guess(minutes: list[AudioReport]) -> None:
    assert MODEL.guesses([minutes]) == [None]


def test_a_batch_gives_what_its_calls_give_one_by_one() -> None:
    batch = [barking(range(7)), call_of(range(2)), [], barking(range(4)), barking(range(2, 12)), call_of(range(9))]
    assert MODEL.guesses(batch) == [MODEL.guesses([minutes])[0] for minutes in batch]
    assert MODEL.guesses([]) == []


@given(
    st.lists(st.tuples(st.integers(0, 20), st.just(()) | st.tuples(*[st.floats() | st.integers()] * 3)), max_size=12)
)
def test_no_numbers_and_no_order_ever_raise(made: list[tuple[int, tuple[float, ...]]]) -> None:
    found = MODEL.guesses([[report_of(number, gains) for number, gains in made]])[0]
    assert found is None or (found.label is None) == (found.reason is not None)


@given(st.lists(st.integers(0, 25), min_size=1, max_size=20), st.randoms())
def test_shuffled_and_repeated_minutes_give_the_same_guess(numbers: list[int], chance: random.Random) -> None:
    minutes = barking(sorted(set(numbers)))
    shuffled = minutes + minutes[::2]
    chance.shuffle(shuffled)
    assert MODEL.guesses([shuffled]) == MODEL.guesses([minutes])


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_scores_that_overflow_are_declined() -> None:
    huge = {name: np.full(shape, 3e38, np.float32) for name, shape in MLPStats.shapes(7, 5).items()}
    huge |= {name: MODELS[0].network.tensors[name] for name in ("center", "scale")}
    found = ActivityStream([replace(MODELS[0], network=MLPStats(huge)), MODELS[1]], 1).guesses([barking(range(7))])[0]
    assert found is not None and found.label is None and found.reason == "the model's scores are not finite"


def test_a_stream_without_a_model_for_a_length_is_refused() -> None:
    with pytest.raises(ModelError, match="no model for windows of 3 minutes"):
        ActivityStream([MODELS[0]], 5)


@given(st.lists(st.floats(-50, 50), min_size=6, max_size=6))
def test_rounded_probabilities_add_up_and_keep_the_order(scores: list[float]) -> None:
    exact = np.exp(np.array(scores) - max(scores))
    shares = np.asarray(exact / exact.sum(), dtype=np.float32)
    told = list(rounded(shares[None])[0].values())
    assert math.isclose(sum(told), 1, abs_tol=1e-12)
    assert np.abs(np.array(told) - shares).max() <= 1.01e-4
    assert told[int(shares.argmax())] == max(told)


def test_the_horizon_holds_every_window_that_is_smoothed() -> None:
    assert MODEL.horizon == 7 + 1 + 4
    minutes = barking(range(30))
    assert MODEL.guesses([minutes]) == MODEL.guesses([minutes[-MODEL.horizon :]])


def test_the_windows_before_are_part_of_the_guess_but_never_those_before_a_gap() -> None:
    cooking = [report_of(n, gains) for n, gains in enumerate(made_up_gains("cooking2", 50, 11, 1))]
    dog = barking(range(10, 20))
    alone, at_once, after_gap = MODEL.guesses([dog[1:4], cooking + dog[1:4], cooking[:7] + dog[1:4]])
    assert alone is not None and at_once is not None and after_gap is not None
    assert alone.probabilities["dog"] > at_once.probabilities.get("dog", 0.0)
    assert after_gap.probabilities == alone.probabilities


@pytest.mark.parametrize(
    "module", ["window", "model", "recordings", "manifest", "evaluate", "stream", "train", "explain", "card", "plots"]
)
def test_nothing_but_fitting_imports_torch(module: str) -> None:
    code = (
        f"import sys, classifier.{module}, classifier.stream as s; s.load_model();"
        "heavy = {'torch', 'matplotlib', 'mitmproxy', 'scapy', 'pyshark', 'pickle'} & set(sys.modules) - before;"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    code = f"import sys, numpy; before = {{*sys.modules}}; {code}"  # numpy itself loads pickle
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
