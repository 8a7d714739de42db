"""`mutewatch classifier`: get the data, train the models behind the guesses, and see how good they are."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from rich.console import Console

from classifier.card import model_card
from classifier.configuration import configuration
from classifier.evaluate import evaluate as evaluate_configuration
from classifier.protocols import Protocol
from classifier.published import read_published, to_csv
from classifier.recordings import SPLITS
from classifier.results import read_results, render
from classifier.train import train as train_models
from classifier.window import window_of
from mutewatch.commands.output import open_output
from mutewatch.errors import InputError, OperatorError
from mutewatch.records import AudioReport, Finding
from mutewatch.sinks.record import finding_from_record

MAX_LINE: Final = 1 << 20  # characters of a finding; real ones have about 2,000


def import_published(folder: Path, output: Path) -> None:
    """Write the CSV, and tell what is in it and every remark on it."""
    published = read_published(folder)
    with open_output(output) as file:
        file.write(to_csv(published.series))
    minutes = Counter(dict.fromkeys(SPLITS, 0))
    for series in published.series:
        minutes[series.split] += len(series.gains)
    told = ", ".join(f"{split} {count:,}" for split, count in minutes.items())
    print(f"{output}: {len(published.series)} recordings, {minutes.total():,} minutes ({told})")
    for remark in published.remarks:
        about = f" ({remark.minutes} minutes)" if remark.minutes else ""
        print(f"{remark.kind:<12}{remark.recording}{about}: {remark.text}")


def train(data: Path, output: Path) -> None:
    """Train, and print which files are where."""
    console = Console(stderr=True)
    with console.status("training") as status:
        result = train_models(data, output, on_model=lambda name: status.update(f"training {name}"))
    for recording, reason in result.left_out.items():
        print(f"not used: {recording}: {reason}", file=sys.stderr)
    for model, path in result.weights.items():
        print(f"{model}  {path}")


def evaluate(data: Path, protocol: str, seeds: int, models: list[str], output: Path | None, plots: Path | None) -> None:
    """Print the scores; write them as JSON and as plots where asked. What cannot be written is found out before."""
    if plots is not None:
        from classifier.plots import need_matplotlib

        need_matplotlib()
        try:
            plots.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OperatorError(f"cannot write to {plots}: {error.strerror}") from None
    console = Console(stderr=True)
    with open_output(output) if output else nullcontext() as file, console.status("reading") as status:
        results = evaluate_configuration(
            data,
            Protocol(protocol),
            range(seeds),
            models=models,
            on_round=lambda name: status.update(f"training {name}"),
        )
        if file is not None:
            file.write(json.dumps(results, indent=1) + "\n")
    print(render(results))
    if output is not None:
        print(f"all of it: {output}", file=sys.stderr)
    if plots is not None:
        from classifier.plots import draw

        for path in draw(results, plots):
            print(f"plot: {path}", file=sys.stderr)


def card(files: list[Path], output: Path) -> None:
    """Write the model card from evaluations."""
    try:
        text = model_card([read_results(path) for path in files])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        names = ", ".join(map(str, files))
        raise OperatorError(f"{names}: not whole evaluations of this version ({type(error).__name__})") from None
    with open_output(output) as file:
        file.write(text)
    print(output)


def explain(findings: Path, minute: str, client: str | None) -> None:
    """Print what drove the guess for `minute`, from findings as JSON lines."""
    from classifier.explain import explain as explain_window
    from classifier.explain import render_explanation
    from classifier.manifest import WEIGHTS, ModelError, load_weights, weights_path
    from classifier.stream import load_model

    asked = _asked(findings, minute, client)
    if asked.source is None:
        raise OperatorError(f"no guess for minute {minute}: it was not seen")
    reports = _reports_until(findings, asked)
    window = window_of(reports)
    if window.values is None:
        raise OperatorError(f"no guess for minute {minute}: {window.reason}")
    try:
        model = load_weights(weights_path(WEIGHTS, configuration().default, len(window.values)))
        guess = load_model().guesses([reports])[0]
    except ModelError as error:
        raise OperatorError(str(error)) from None
    if guess is None:
        raise OperatorError(f"no guess for minute {minute}: it does not carry the three gains")
    if asked.guess and asked.guess.model != guess.model:
        print(f"the finding's guess is by {asked.guess.model}; explained is {guess.model}", file=sys.stderr)
    print(render_explanation(explain_window(model, window.values), guess, window.readings))


def _asked(path: Path, minute: str, client: str | None) -> Finding:
    """Return the finding of that minute, of one call only."""
    asked = [one for one in _findings(path) if one.minute == minute and client in {None, one.client} and one.starts_at]
    calls = {_call(one) for one in asked}
    if len(calls) != 1:
        names = ", ".join(sorted({one.client for one in asked}))
        what = f"minute {minute} in several calls of {names}: add --client" if calls else f"no minute {minute}"
        raise OperatorError(f"{path}: {what}")
    return asked[-1]


def _reports_until(path: Path, asked: Finding) -> list[AudioReport]:
    """Return the reports of the call of `asked`, up to its own."""
    same = (one for one in _findings(path) if _call(one) == _call(asked))
    return [
        AudioReport(one.source, one.client, one.call, one.starts_at, one.ends_at, None, one.values)
        for one in same
        if one.source and one.starts_at and one.ends_at and asked.starts_at and one.starts_at <= asked.starts_at
    ]


def _call(finding: Finding) -> tuple[str, str, str]:
    return finding.client, finding.call, finding.signature.id


def _findings(path: Path) -> Iterator[Finding]:
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            while line := file.readline(MAX_LINE):
                number += 1
                record = json.loads(line)
                if record["type"] == "finding":
                    finding = finding_from_record(record)
                    if any(not isinstance(value.value, int | float) for value in finding.values):
                        raise ValueError("a value is not a number")
                    if finding.starts_at is not None and finding.starts_at.tzinfo is None:
                        raise ValueError("a time without a zone")
                    yield finding
    except OSError as error:
        raise InputError(path, error.strerror or "cannot be read") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(path, f"line {number}: not a finding as mutewatch writes them (--format jsonl)") from error
