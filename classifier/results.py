"""The JSON of an evaluation, read back and told in a terminal."""

import json
from pathlib import Path
from typing import Any

from classifier.evaluate import FORMAT
from classifier.protocols import Protocol
from mutewatch.errors import InputError

MAX_BYTES = 64 << 20  # an evaluation with ten seeds has about 1 MB

KEYS = {"protocol", "seeds", "csv", "results", "unknowns", "streams"}

Results = dict[str, Any]


def read_results(path: Path) -> Results:
    """Return the evaluation in the file at `path`, or raise `InputError`."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        results = json.loads(raw) if len(raw) <= MAX_BYTES else None
    except OSError as error:
        raise InputError(path, error.strerror or "cannot be read") from error
    except (ValueError, RecursionError) as error:
        raise InputError(path, "not JSON") from error
    is_ours = isinstance(results, dict) and results.get("format") == FORMAT and results.keys() >= KEYS
    if results is not None and is_ours and results["protocol"] in list(Protocol):
        return dict(results)
    raise InputError(path, f"not an evaluation of format {FORMAT}: mutewatch classifier evaluate writes them")


def render(results: Results) -> str:
    """Return an evaluation as plain text of at most 80 columns: percent, six classes and five."""
    csv = results["csv"]
    lines = [
        f"protocol {results['protocol']}, {len(results['seeds'])} seeds, {csv['recordings']} recordings, "
        f"{csv['minutes']:,} minutes, CSV {csv['sha256'][:12]}",
        "",
        "macro recall, %           six classes,   of the shipped members:         five",
        "model            n test     each seed     mean and interval   smoothed  classes",
    ]
    told = [result for result in results["results"] if "with every spelling" not in result["test"]]
    lines += [_line(result) for result in told]
    if any(result["epoch"] != "last" for result in told):
        lines.append("* at the epoch that was best on the windows held out")
    lines += _unknown_lines(results["unknowns"])
    lines += [
        f"{row['test']}: first right label after {_minutes(row['quartiles'])} minutes (quartiles), "
        f"never in {row['never']} of {row['recordings']}"
        for row in results["streams"]
    ]
    return "\n".join(lines).rstrip()


def _line(result: dict[str, Any]) -> str:
    six, five = result["six_classes"], result["five_classes"]
    seeds, smoothed = six["over_seeds"]["macro_recall"], result["smoothed"]["six_classes"]
    name = result["model"] + (" *" if result["epoch"] != "last" else "")
    mean = f"{100 * six['macro_recall']:.1f} ({_interval(six)})"
    return (
        f"{name:<16}{result['window_minutes']:>2} {result['test']:<6}"
        f"{100 * seeds['mean']:>7.1f} ± {100 * seeds['sd']:<4.1f}  {mean:<18}"
        f"{100 * smoothed['macro_recall']:>9.1f}{100 * five['macro_recall']:>9.1f}"
    )


def _interval(scores: dict[str, Any]) -> str:
    low, high = scores["interval"]
    return f"{100 * low:.0f} to {100 * high:.0f}"


def mean_of_rounds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the table of unknowns with one row a kind and window: the mean over the rounds."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["kind"], row["window_minutes"]), []).append(row)
    return [_mean_row(group) for group in groups.values()]


def _mean_row(group: list[dict[str, Any]]) -> dict[str, Any]:
    names = sorted({name for row in group for name in row["answers"]})
    mean = {name: sum(row["answers"].get(name, 0.0) for row in group) / len(group) for name in names}
    return group[0] | {"answers": mean}


def _unknown_lines(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = ["", "windows that are no activity, %       minutes  no label  labelled"]
    for row in mean_of_rounds(rows):
        labelled = row["answers"].get("label", 0.0)
        lines.append(f"{row['kind']:<38}{row['window_minutes']:>7}{100 * (1 - labelled):>10.1f}{100 * labelled:>10.1f}")
    return [*lines, ""]


def _minutes(quartiles: list[float] | None) -> str:
    return ", ".join(f"{value:.0f}" for value in quartiles) if quartiles else "no"
