"""`python -m bench.fuzz TARGET --seconds 60 [--seed 1]`: looks for inputs that make a target fail.

Guided by coverage where atheris is installed (extra `fuzz`), else by chance. The first input that fails is
saved, and the exit code is not 0; `--input FILE` runs it again. `make fuzz` does this for a minute for each of
the targets that read what strangers send. A finding becomes a test next to the fix, never a file of bytes.
"""

import argparse
import faulthandler
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path

from bench.fuzz.mutate import LONGEST, mutations

Target = Callable[[bytes], None]
_SECONDS = 60  # that one input may take; far above all seen, as machines may stall
_MEMORY = 4_096  # MiB; atheris itself grows by some 200 a minute


def main() -> int:
    with _instrumented():
        from bench.fuzz.seeds import seeds
        from bench.fuzz.targets import TARGETS
    arguments = _parser(TARGETS).parse_args()
    target = TARGETS[arguments.target]
    if arguments.input is not None:
        target(arguments.input.read_bytes())
        return 0
    if find_spec("atheris") is None:
        print("atheris is not installed: mutations by chance, not guided by coverage", file=sys.stderr)
        return _by_chance(target, list(seeds(arguments.target).values()), arguments)
    return _by_coverage(target, seeds(arguments.target), arguments)


def _instrumented() -> AbstractContextManager[None]:
    """Within this, atheris sees to it that it can follow what is imported of ours."""
    if find_spec("atheris") is None:
        return nullcontext()
    import atheris

    context: AbstractContextManager[None] = atheris.instrument_imports(include=["pcap_tools"])
    return context


def _parser(targets: Iterable[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("target", choices=list(targets))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path(), help="folder for inputs that fail")
    parser.add_argument("--corpus", type=Path, help="folder of inputs that are worth keeping, for the next time")
    parser.add_argument("--input", type=Path, help="run the target once on this file")
    return parser


def _by_chance(target: Target, seeds: list[bytes], arguments: argparse.Namespace) -> int:
    until, count = time.monotonic() + arguments.seconds, 0
    for data in mutations(seeds, random.Random(arguments.seed)):
        if time.monotonic() > until:
            break
        count += 1
        faulthandler.dump_traceback_later(_SECONDS, exit=True)
        try:
            target(data)
        except Exception:
            traceback.print_exc()
            path = arguments.findings / f"{arguments.target}-{arguments.seed}-{count}"
            path.write_bytes(data)
            print(f"finding saved to {path}", file=sys.stderr)
            return 1
    faulthandler.cancel_dump_traceback_later()
    print(f"{arguments.target}: {count:,} inputs, no finding", file=sys.stderr)
    return 0


def _by_coverage(target: Target, seeds: dict[str, bytes], arguments: argparse.Namespace) -> int:
    import atheris

    with tempfile.TemporaryDirectory(prefix="mutewatch-fuzz-") as folder:
        made = Path(folder, "seeds")
        made.mkdir()
        for name, data in seeds.items():
            (made / name).write_bytes(data)
        corpus = arguments.corpus or Path(folder, "corpus")
        corpus.mkdir(parents=True, exist_ok=True)
        flags = (
            f"-max_total_time={arguments.seconds}",
            f"-seed={arguments.seed}",
            f"-max_len={LONGEST}",
            f"-timeout={_SECONDS}",
            f"-rss_limit_mb={_MEMORY}",
            f"-artifact_prefix={arguments.findings / arguments.target}-",
            "-verbosity=0",
            "-print_final_stats=1",
        )
        atheris.Setup([sys.argv[0], *flags, str(corpus), str(made)], target)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
