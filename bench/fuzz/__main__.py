"""`python -m bench.fuzz TARGET --seconds 60 [--seed 1]`: looks for inputs that make a target fail.

Coverage guided by atheris where that is installed (extra `fuzz`; there is none for Python 3.12), else by chance.
A finding is saved, and the exit code is 1; `--input FILE` runs it again.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from importlib.util import find_spec
from pathlib import Path

from bench.fuzz.mutate import mutations
from bench.fuzz.seeds import seeds, write_seeds
from bench.fuzz.targets import TARGETS

_MOST = 64 << 10  # bytes of an input
_SECONDS = 20  # that one input may take
_MEMORY = 1_024  # MiB


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.input is not None:
        TARGETS[arguments.target](arguments.input.read_bytes())
        return 0
    if find_spec("atheris") is None:
        print("atheris is not installed: mutations by chance, not guided by coverage", file=sys.stderr)
        return _by_chance(arguments.target, arguments.seconds, arguments.seed, arguments.findings)
    return _by_coverage(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path(), help="folder for inputs that fail")
    parser.add_argument("--corpus", type=Path, help="folder of inputs that are worth keeping, for the next time")
    parser.add_argument("--input", type=Path, help="run the target once on this file")
    return parser


def _by_chance(target: str, seconds: int, seed: int, findings: Path) -> int:
    until, count = time.monotonic() + seconds, 0
    for data in mutations(list(seeds(target).values()), random.Random(seed)):
        if time.monotonic() > until:
            break
        count += 1
        try:
            TARGETS[target](data)
        except Exception:
            traceback.print_exc()
            path = findings / f"{target}-{seed}-{count}"
            path.write_bytes(data)
            print(f"finding saved to {path}", file=sys.stderr)
            return 1
    print(f"{target}: {count:,} inputs, no finding", file=sys.stderr)
    return 0


def _by_coverage(arguments: argparse.Namespace) -> int:
    import atheris

    with tempfile.TemporaryDirectory(prefix="mutewatch-fuzz-") as folder:
        made = Path(folder, "seeds")
        made.mkdir()
        write_seeds(arguments.target, made)
        corpus = arguments.corpus or Path(folder, "corpus")
        corpus.mkdir(parents=True, exist_ok=True)
        flags = (
            f"-max_total_time={arguments.seconds}",
            f"-seed={arguments.seed}",
            f"-max_len={_MOST}",
            f"-timeout={_SECONDS}",
            f"-rss_limit_mb={_MEMORY}",
            f"-artifact_prefix={arguments.findings / arguments.target}-",
            "-print_final_stats=1",
        )
        atheris.instrument_all()
        atheris.Setup([sys.argv[0], *flags, str(corpus), str(made)], TARGETS[arguments.target])
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
