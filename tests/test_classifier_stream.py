import math
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.manifest import load_weights
from classifier.model import CLASSES, PaperCNN
from classifier.stream import ActivityStream, load_model, rounded
from mutewatch.records import ActivityGuess, ClientMinute
from tests.classifier_minutes import START, call_of, client_minute

MODEL = load_model()


def guess(minutes: list[ClientMinute]) -> ActivityGuess:
    found = MODEL.guess(minutes)
    assert found is not None
    return found


def test_a_full_window_gets_a_label_and_its_probabilities() -> None:
    found = guess(call_of(range(7)))
    assert found.label in CLASSES and found.reason is None
    assert tuple(found.probabilities) == CLASSES
    assert max(found.probabilities.values()) == found.probabilities[found.label]
    assert math.isclose(sum(found.probabilities.values()), 1, abs_tol=1e-12)


def test_a_guess_tells_model_span_and_minutes() -> None:
    found = guess(call_of([0, 1, 2, 4, 5, 6, 7]))
    assert found.model == load_weights().manifest.model_id == MODEL.model_id
    assert found.window_starts_at == START
    assert found.window_ends_at == START + timedelta(minutes=8)
    assert (found.minutes, found.minutes_missing) == (7, 1)


@pytest.mark.parametrize(
    ("minutes", "reason", "count"),
    [
        (call_of(range(3)), "warming up: 3 of 7 minutes", 3),
        (call_of([0, 1, 2, 3, 8, 9]), "warming up: 2 of 7 minutes after a gap of 5 minutes", 2),
        (call_of([0, 1, 3, 4, 6, 7, 8]), "gap: 2 minutes missing between the last 7 readings", 7),
        ([*call_of(range(7)), client_minute(7, None)], "this minute was not seen", 0),
        (call_of(range(7), (97, 97, 97)), "values outside what the model was trained on", 7),
        (call_of([0], (97, 97, 97)), "values outside what the model was trained on", 1),
        (call_of(range(7), (0, 0, 0)), "values outside what the model was trained on", 7),
    ],
)
def test_where_there_is_no_window_the_model_declines(
    minutes: list[ClientMinute], reason: str, count: int
) -> None:
    found = guess(minutes)
    assert found.label is None and found.probabilities == {}
    assert str(found.reason).startswith(reason)
    assert found.model == MODEL.model_id and found.minutes == count
    assert found.window_ends_at == minutes[-1].ends_at


@pytest.mark.parametrize(
    "minutes",
    [
        [],
        call_of(range(7), ()),
        call_of(range(7), (40, 30)),
        [client_minute(0, None)],
        [*call_of(range(7)), client_minute(7, ())],
    ],
    ids=["nothing", "no gains", "two of three", "only missing", "last without gains"],
)
def test_values_of_another_kind_get_no_guess(minutes: list[ClientMinute]) -> None:
    assert MODEL.guess(minutes) is None


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.none() | st.tuples(*[st.floats() | st.integers()] * 3)), max_size=12
    )
)
def test_no_numbers_and_no_order_ever_raise(
    made: list[tuple[int, tuple[float, float, float] | None]],
) -> None:
    found = MODEL.guess([client_minute(number, gains) for number, gains in made])
    assert found is None or (found.label is None) == (found.reason is not None)


@given(
    st.lists(
        st.tuples(*[st.integers(4, 55)] * 3).map(lambda g: sorted(g, reverse=True)), min_size=7, max_size=7
    )
)
def test_every_plausible_window_gets_a_label(gains: list[list[float]]) -> None:
    assert guess([client_minute(n, g) for n, g in enumerate(gains)]).label is not None


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_scores_that_overflow_are_declined() -> None:
    model = load_weights()
    huge = {name: np.full(shape, 3e38, np.float32) for name, shape in PaperCNN.shapes(7).items()}
    found = ActivityStream(replace(model, network=PaperCNN(huge))).guess(call_of(range(7)))
    assert found is not None and found.reason == "the model's scores are not finite"


@given(st.lists(st.floats(-50, 50), min_size=6, max_size=6))
def test_rounded_probabilities_add_up_and_keep_the_order(scores: list[float]) -> None:
    exact = np.exp(np.array(scores) - max(scores))
    shares = np.asarray(exact / exact.sum(), dtype=np.float32)
    told = list(rounded(shares).values())
    assert math.isclose(sum(told), 1, abs_tol=1e-12)
    assert np.abs(np.array(told) - shares).max() <= 1.01e-4
    assert told[int(shares.argmax())] == max(told)


def test_the_horizon_is_a_window_and_the_minute_it_may_miss() -> None:
    assert MODEL.horizon == 8


@pytest.mark.parametrize(
    "module", ["window", "model", "recordings", "manifest", "evaluate", "stream", "train"]
)
def test_nothing_but_fitting_imports_torch(module: str) -> None:
    code = (
        f"import sys, classifier.{module}, classifier.stream as s; s.load_model();"
        "heavy = {'torch', 'mitmproxy', 'scapy', 'pyshark', 'pickle'} & set(sys.modules) - before;"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    code = f"import sys, numpy; before = {{*sys.modules}}; {code}"  # numpy itself loads pickle
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
