"""The model card, written from evaluations: every figure in it comes out of their JSON.

Source of the form: Mitchell et al., Model Cards for Model Reporting, 2019.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from classifier.configuration import configuration
from classifier.gate import CERTAIN, QUIET_LEVEL, QUIET_SPREAD, Answer
from classifier.model import CLASSES
from classifier.results import Results, mean_of_rounds
from classifier.window import GAP_POLICY

ANSWERS: Final = tuple(Answer)
PROTOCOLS: Final = {
    "P": "the paper's own: windows reach over joined recordings, a fifth of them held out at random; flattering",
    "HA": "recordings held apart, every development recording trained on",
    "HB": "as HA, and no video in training and test",
    "LOVO": "leave one video out, over all recordings",
    "folds": "development recordings alone, three folds by video; models are chosen by this",
    "distances": "development recordings alone, one distance left out at a time; models are chosen by this too",
}

HEAD: Final = """\
# Model card: the activity guess

Written by `mutewatch classifier card`; the tables come out of the JSON of evaluations.

## What it is for

It shows what could be inferred about the sound of a room from three numbers a minute that a client sent while
it said it was muted: one of {classes}. It is **experimental**.

It must not be used to find out what an identified person does, as evidence of what anyone did, to watch staff,
or to decide anything about a person. The mute flag never depends on it, and it can be switched off
(`--no-activity`).

## What it was trained on

The development recordings of the paper's authors ("Are You Really Muted?", PETS'22): videos played through a
loudspeaker in one room, at 10, 25 and 50 cm, two microphones with two ranges of gain, one client version of
2021. CSV SHA-256 `{sha256}`. Twenty-one videos in all stand for
six activities; that three videos are what "music" sounds like is the narrowest limit of all.

- Four development videos are also in the evaluation recordings, by name, one of them by content too; HB leaves
  them out.
- The folds by video hold one video on both sides: classical music, at another distance. There is too little music.
- Evaluation "cooking" is near silence. Six-class figures hardly can exceed 83 for that reason alone; with
  cooking and keyboard as one class the same models are told as five classes.
- `punk_music2` is near silence under the label music, and is trained on by nobody here.
- Windows of one recording overlap: intervals resample recordings, or half hours where a class has one only.

## When it says nothing

In this order: values outside 4 to 55 or not max >= mean >= min; fewer than {shortest} minutes since telemetry was
missing for more than {reset}; more than {missing} minute missing among the last {shortest}; quiet (max - min at most
{spread:g} on average, mean at least {level:g}); hardly any movement; unlike the training recordings (Mahalanobis
distance); the highest probability below {certain:g} (the two highest are shown).
"""

TAIL: Final = """\
## What it does not know

There is no class for speech near the microphone, television or traffic. What sounds like one of the six is
called by its name. Confidence is not calibrated by any later step: the calibration error above is what it is.
How the guess behaves when the activity changes within a window was not measured: there are no such data.

Train it again with `mutewatch classifier train CSV -o weights/`; the seeds and every setting are in
`classifier/configuration.toml`, how they were chosen in `docs/decisions/0008`.
"""


def model_card(evaluations: Sequence[Results]) -> str:
    """Return the card, Markdown, of one or more evaluations as `results.read_results` gives them."""
    chosen = configuration()
    head = HEAD.format(
        classes=", ".join(CLASSES),
        sha256=chosen.csv_sha256,
        shortest=min(GAP_POLICY.lengths),
        missing=GAP_POLICY.missing_tolerated,
        reset=GAP_POLICY.reset_after_minutes,
        spread=QUIET_SPREAD,
        level=QUIET_LEVEL,
        certain=CERTAIN,
    )
    parts = [head, *(_section(results) for results in evaluations), TAIL]
    return "\n".join(parts)


def _section(results: Results) -> str:
    protocol, csv = results["protocol"], results["csv"]
    lines = [
        f"## Protocol {protocol}",
        "",
        f"{PROTOCOLS[protocol][0].upper()}{PROTOCOLS[protocol][1:]}. {len(results['seeds'])} seeds; "
        f"{csv['recordings']} recordings, {csv['minutes']:,} minutes, CSV SHA-256 `{csv['sha256'][:12]}`.",
        "",
        "Macro recall in %: over seeds (single members), and of the shipped members' mean with its 95 % interval.",
        "",
        *_table(
            ("model", "minutes", "test", "mean ± sd", "least to most", "mean of members", "smoothed", "five classes"),
            map(_row, results["results"]),
        ),
        "",
    ]
    for result in results["results"]:
        if result["model"] == configuration().default:
            lines += _detail(result)
    if results["unknowns"]:
        lines += [
            "Windows that are no activity, and what is said of them, in % of the windows:",
            "",
            *_table(
                ("kind", "minutes", *ANSWERS),
                map(_unknown, mean_of_rounds(results["unknowns"])),
            ),
            "",
        ]
    for row in results["streams"]:
        quartiles = ", ".join(f"{value:.0f}" for value in row["quartiles"] or ())
        lines += [
            f"First right label in {row['test']}: after {quartiles or 'no'} minutes (quartiles over "
            f"{row['recordings']} recordings), never in {row['never']}.",
            "",
        ]
    return "\n".join(lines)


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    six, five = result["six_classes"], result["five_classes"]
    seeds = six["over_seeds"]["macro_recall"]
    name = result["model"] + ("" if result["epoch"] == "last" else f" ({result['epoch']})")
    return (
        name,
        str(result["window_minutes"]),
        result["test"],
        f"{100 * seeds['mean']:.1f} ± {100 * seeds['sd']:.1f}",
        f"{100 * seeds['min']:.1f} to {100 * seeds['max']:.1f}",
        _with_interval(six),
        _with_interval(result["smoothed"]["six_classes"]),
        _with_interval(five),
    )


def _with_interval(scores: dict[str, Any]) -> str:
    low, high = scores["interval"]
    return f"{100 * scores['macro_recall']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _detail(result: dict[str, Any]) -> list[str]:
    """Return the default model's classes, calibration and coverage for one test set."""
    six = result["six_classes"]
    points = ", ".join(
        f"{100 * point['coverage']:.0f} % at {point['confidence']:g} with accuracy {_percent(point['accuracy'])}"
        for point in result["coverage"]
        if point["confidence"] in {0.5, 0.7, 0.9}
    )
    return [
        f"`{result['model']}`, {result['window_minutes']} minutes, {result['test']}, {result['epoch']} epoch "
        f"({result['windows']:,} windows):",
        "",
        *_table(
            (
                "class",
                "recordings",
                "videos",
                "windows",
                "recall %",
                "precision %",
                *(f"as {name}" for name in CLASSES),
            ),
            (_class_row(one, counts) for one, counts in zip(six["classes"], six["confusion"], strict=True)),
        ),
        "",
        f"Expected calibration error {result['calibration']['ece']:.3f}. Coverage by confidence: {points}.",
        "",
        "What is told, gates and smoothing on, in % of the windows of a class:",
        "",
        *_table(("class", *ANSWERS, "labels right %"), map(_answer, result["answers"])),
        "",
        *_rounds(result["rounds"]),
    ]


def _answer(row: dict[str, Any]) -> tuple[str, ...]:
    shares = (f"{100 * row['answers'].get(name, 0):.1f}" for name in ANSWERS)
    return (row["class"], *shares, _percent(row["labels_right"]))


def _rounds(rounds: Sequence[dict[str, Any]]) -> list[str]:
    if not rounds:
        return []
    head = ("left out", "class", "recordings", "windows", "right %", "over seeds")
    return ["By round:", "", *_table(head, map(_round, rounds)), ""]


def _round(row: dict[str, Any]) -> tuple[str, ...]:
    seeds = row["accuracy_over_seeds"]
    over = f"{100 * seeds['mean']:.1f} ± {100 * seeds['sd']:.1f}"
    classes = ", ".join(row["classes"])
    return (row["name"], classes, str(row["recordings"]), str(row["windows"]), _percent(row["accuracy"]), over)


def _class_row(one: dict[str, Any], counts: Sequence[int]) -> tuple[str, ...]:
    numbers = (one["name"], str(one["recordings"]), str(len(one["videos"])), str(one["windows"]))
    return (*numbers, _percent(one["recall"]), _percent(one["precision"]), *map(str, counts))


def _unknown(row: dict[str, Any]) -> tuple[str, ...]:
    shares = row["answers"]
    return (row["kind"], str(row["window_minutes"]), *(f"{100 * shares.get(name, 0):.1f}" for name in ANSWERS))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
