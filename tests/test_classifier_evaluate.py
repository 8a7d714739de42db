import json
from pathlib import Path

import pytest

import classifier.evaluate as evaluation
from classifier.card import model_card
from classifier.evaluate import evaluate
from classifier.model import CLASSES
from classifier.protocols import Protocol
from classifier.published import read_published, to_csv
from classifier.results import Results, read_results, render
from mutewatch.errors import InputError
from tests.classifier_minutes import write_csv, write_published
from tests.test_classifier_train import quick

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three splits, in the form of the published ones."""
    pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    folder = tmp_path_factory.mktemp("published")
    (folder / "g.csv").write_text(to_csv(read_published(write_published(folder / "p")).series))
    return folder / "g.csv"


@pytest.fixture(scope="module")
def results(csv: Path) -> dict[str, Results]:
    """An evaluation under every protocol, with few epochs and two seeds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "configuration", lambda: quick(2))
        found = {str(protocol): evaluate(csv, protocol, range(2)) for protocol in Protocol}
    return {name: json.loads(json.dumps(one)) for name, one in found.items()}


@pytest.mark.parametrize("protocol", list(Protocol))
def test_every_protocol_tells_every_model_window_and_test_set(results: dict[str, Results], protocol: str) -> None:
    told = {(r["model"], r["window_minutes"], r["test"]) for r in results[protocol]["results"]}
    tests = {"P": {"eval1", "eval2"}, "LOVO": {"all"}, "folds": {"dev"}, "distances": {"dev"}}.get(
        protocol, {"eval1", "eval2", "eval1 with every spelling", "eval2 with every spelling"}
    )
    models = {choice.name for choice in quick().choices if protocol in choice.protocols}
    assert told == {(model, length, test) for model in models for length in (3, 7) for test in tests}


@pytest.mark.parametrize("protocol", list(Protocol))
def test_every_figure_has_its_spread_its_interval_and_what_stands_behind_it(
    results: dict[str, Results], protocol: str
) -> None:
    for result in results[protocol]["results"]:
        for classes, count in (("six_classes", 6), ("five_classes", 5)):
            scores = result[classes]
            low, high = scores["interval"]
            assert 0 <= low <= high <= 1 and 0 <= scores["macro_recall"] <= 1
            assert len(scores["classes"]) == len(scores["confusion"]) == count
            assert sum(map(sum, scores["confusion"])) == result["windows"]
            assert all(one["videos"] and one["recordings"] for one in scores["classes"] if one["windows"])
            seeds = scores["over_seeds"]["macro_recall"]
            assert seeds["min"] <= seeds["mean"] <= seeds["max"]
            alike = result["model"] == "logistic_stats" and protocol != "P"
            assert len(seeds["values"]) == (1 if alike else 2)
        assert 0 <= result["calibration"]["ece"] <= 1
        assert result["coverage"][0]["coverage"] == 1


def test_only_the_paper_s_protocol_tells_the_best_epoch_too(results: dict[str, Results]) -> None:
    epochs = {name: {r["epoch"] for r in one["results"]} for name, one in results.items()}
    assert epochs.pop("P") == {"last", "best on held-out windows"}
    assert set.union(*epochs.values()) == {"last"}
    assert {r["model"] for r in results["P"]["results"] if r["epoch"] != "last"} == {"paper_cnn"}


def test_unknowns_and_first_right_labels_are_told_of_the_default_model(results: dict[str, Results]) -> None:
    rows = results["HA"]["unknowns"]
    assert {row["window_minutes"] for row in rows} == {3, 7}
    assert {"silence", "noise", "zeros", "punk_music2"} <= {row["kind"] for row in rows}
    assert all(sum(row["answers"].values()) == pytest.approx(1) for row in rows)
    assert [row["test"] for row in results["HA"]["streams"]] == ["eval1", "eval2"]
    assert not results["P"]["unknowns"] and len(results["folds"]["unknowns"]) == 3 * len(rows)


def test_an_evaluation_of_development_recordings_alone_needs_the_folds(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "g.csv")
    with pytest.raises(InputError, match=r"no recording that protocol HA could score; splits: \{'dev': 18\}"):
        evaluate(path, Protocol.RECORDINGS, [0])


def test_a_csv_with_nothing_to_train_on_is_an_input_error(csv: Path, tmp_path: Path) -> None:
    lines = csv.read_text().splitlines(keepends=True)
    (tmp_path / "g.csv").write_text("".join(line for line in lines if not line.startswith("dev,")))
    for protocol in (Protocol.RECORDINGS, Protocol.VIDEOS, Protocol.PAPER, Protocol.FOLDS_BY_VIDEO):
        with pytest.raises(InputError, match="no recording that protocol"):
            evaluate(tmp_path / "g.csv", protocol, [0], models=["mlp_stats"])


def test_leave_one_video_out_tells_every_video(results: dict[str, Results]) -> None:
    rows = results["LOVO"]["results"][0]["rounds"]
    assert len(rows) == 20 and all(len(row["classes"]) == 1 and row["windows"] for row in rows)


def test_what_is_told_of_each_class_adds_up(results: dict[str, Results]) -> None:
    for row in results["HA"]["results"][0]["answers"]:
        assert sum(row["answers"].values()) == pytest.approx(1)


def test_only_the_models_asked_for_are_trained(csv: Path) -> None:
    found = evaluate(csv, Protocol.RECORDINGS, [0], models=["logistic_stats"])
    assert {r["model"] for r in found["results"]} == {"logistic_stats"}


@pytest.mark.parametrize("protocol", list(Protocol))
def test_the_text_fits_80_columns(results: dict[str, Results], protocol: str) -> None:
    assert max(map(len, render(results[protocol]).splitlines())) <= 80


def test_the_model_card_has_every_protocol_and_class(results: dict[str, Results]) -> None:
    card = model_card(list(results.values()))
    assert all(f"## Protocol {protocol}" in card for protocol in Protocol)
    assert all(f"| {name} |" in card for name in CLASSES)
    assert "must not be used" in card and "punk_music2" in card


def test_plots_are_files(results: dict[str, Results], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra 'train')")
    from classifier.plots import draw

    paths = draw(results["HA"], tmp_path / "plots")
    assert len(paths) == len(results["HA"]["results"]) + 1
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 99}', "[" * 100_000])
def test_a_file_that_is_no_evaluation_is_an_input_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(InputError, match=r"not JSON|not an evaluation"):
        read_results(tmp_path / "e.json")
