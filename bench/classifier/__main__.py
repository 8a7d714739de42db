"""What a guess costs: through the buffer against the same model in eager torch, and what torch costs to have.

    python -m bench.classifier        # needs torch: pip install 'mutewatch[train]'

Every figure is CPU time, all threads added up, the ways measured in turns in one run; ratios say more than times.
"""

import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import numpy as np

from classifier.configuration import configuration
from classifier.manifest import WEIGHTS, load_weights, weights_path
from classifier.stream import load_model
from classifier.window import window_of
from mutewatch.identity import Names
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.ports import ActivityModel
from mutewatch.records import AudioReport
from mutewatch.signatures import load_signatures
from tests.classifier_minutes import DEVELOPMENT_VIDEOS, made_up_gains, report_of
from tests.facts import at, exchange, tsa_body, tsa_event

ROUNDS = 7
CLIENTS = 10_000
LIMIT_SECONDS = 2.0  # for one minute of 10,000 clients, on one core

# Run in a process of its own: what it takes to be ready for the first guess.
READY = """
import json, pathlib, re, time
began = time.perf_counter()
{imports}
from classifier.stream import load_model
load_model()
seconds = time.perf_counter() - began
peak = re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())
print(json.dumps([seconds, int(peak[1]) / 1024]))
"""


def calls(count: int, horizon: int) -> list[list[AudioReport]]:
    """Return the last minutes of `count` calls, each with sounds of its own."""
    made = []
    for number in range(count):
        video = DEVELOPMENT_VIDEOS[number % len(DEVELOPMENT_VIDEOS)]
        gains = made_up_gains(video, 50, horizon, number % 97)
        made.append([report_of(minute, row) for minute, row in enumerate(gains)])
    return made


def torch_model() -> Callable[[np.ndarray], np.ndarray]:
    """Return the default model of seven minutes in eager torch: windows (batch, 7, 3) to probabilities (batch, 6)."""
    import torch

    from classifier.networks_torch import STACKS

    torch.set_num_threads(1)
    model = load_weights(weights_path(WEIGHTS, configuration().default, 7))
    kind = STACKS[model.manifest.architecture]
    seeds = model.manifest.training.seeds
    twin = kind(seeds, [kind.inputs(np.ones((1, 7, 3), np.float32))] * len(seeds))
    twin.load_state_dict({name: torch.from_numpy(t.copy()) for name, t in model.network.tensors.items()})

    def run(windows: np.ndarray) -> np.ndarray:
        read = torch.from_numpy(kind.inputs(windows))
        with torch.no_grad():
            scores = twin(read.expand(len(seeds), *read.shape))
            return np.asarray(torch.softmax(scores, dim=2).mean(dim=0).numpy())

    return run


def cpu_seconds(run: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        run()
    return (time.process_time() - began) / times


def in_turns(ways: dict[str, Callable[[], object]], times: int) -> dict[str, float]:
    """Return the median CPU seconds of each way, over rounds in which they take turns."""
    for run in ways.values():
        run()
    rounds = [{name: cpu_seconds(run, times) for name, run in ways.items()} for _ in range(ROUNDS)]
    return {name: float(np.median([one[name] for one in rounds])) for name in ways}


def ready(imports: str) -> tuple[float, float]:
    """Return seconds and MiB until a process is ready to guess."""
    done = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", READY.format(imports=imports)], capture_output=True, check=True
            ).stdout
        )
        for _ in range(ROUNDS)
    ]
    return float(np.median([seconds for seconds, _ in done])), float(np.median([mib for _, mib in done]))


def judged_minute(model: ActivityModel) -> float:
    """Return the CPU seconds in which a pipeline judges and guesses one minute of all clients, decoded before."""
    through = Pipeline(load_signatures(), Names(None), MuteTracker(assume=True), model)
    for minute in range(1, model.horizon + 1):
        for client in range(CLIENTS):
            video = DEVELOPMENT_VIDEOS[client % len(DEVELOPMENT_VIDEOS)]
            gains = made_up_gains(video, 50, 1, client * 100 + minute)[0]
            event = tsa_event(minute, at(minute), *gains)
            event["event"]["identifiers"] = {"correlationId": f"C{client}", "webexUserId": f"U{client}"}
            through.feed(exchange(tsa_body(event), sent_at=at(minute) + timedelta(milliseconds=5)))
        gc.freeze()  # as the live proxy does; the bench's own records are none of the guess's business
        began = time.process_time()
        findings = through.finish()
        seconds = time.process_time() - began
        assert len(findings) == CLIENTS and all(finding.guess for finding in findings)
    return seconds


def main() -> int:
    model, torch_run = load_model(), torch_model()
    rows = []
    for count in (1, 1_000):
        batch = calls(count, model.horizon)
        windows = np.stack([window.values for window in map(window_of, batch) if window.values is not None])
        ways: dict[str, Callable[[], object]] = {
            "ours": partial(model.guesses, batch),
            "torch": partial(torch_run, windows),
        }
        found = {name: 1e6 * took / count for name, took in in_turns(ways, times=max(1, 300 // count)).items()}
        ratio = f"{found['ours'] / found['torch']:.2f}"
        rows.append((f"a guess, batch {count:,}: buffer, gates and five windows", f"{found['ours']:.0f} µs", ""))
        rows.append(("  against one window in eager torch", f"{found['torch']:.0f} µs", ratio))
    seconds = judged_minute(model)
    of_limit = f"{seconds / LIMIT_SECONDS:.2f} of the limit"
    rows.append((f"a minute of {CLIENTS:,} clients judged and guessed", f"{seconds:.2f} s", of_limit))
    (alone, mib), (with_torch, mib_torch) = ready(""), ready("import torch")
    rows.append(("ready to guess", f"{alone:.2f} s, {mib:.0f} MiB", ""))
    more = f"{with_torch / alone:.1f}, {mib_torch / mib:.1f}"
    rows.append(("  with torch imported", f"{with_torch:.2f} s, {mib_torch:.0f} MiB", more))
    print("| what | CPU or memory | ratio |\n| --- | --- | --- |")
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return 0 if seconds <= LIMIT_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
