"""How much processor time the tests use: all of them, each file, and the twenty slowest.

    python benchmarks/suite_time.py --name after [WORDS of pytest...]

Counts every thread of this process and every process that it waited for. A fixture counts for the test that asks for it
first. What stands in the file under another name stays, so that two commits can be compared.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
import record

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "benchmarks/results/suite_time.json"
SLOWEST = 20


def used() -> float:
    """Seconds of processor time so far."""
    return sum(os.times()[:4])


class Stopwatch:
    """A plugin of pytest that notes the processor time of each test."""

    def __init__(self):
        self.seconds = collections.Counter[str]()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        before = used()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] += used() - before

    def figures(self) -> dict:
        """Seconds, the largest first."""
        files = collections.Counter[str]()
        for name, seconds in self.seconds.items():
            files[name.split("::")[0]] += seconds
        rounded = lambda counted: {name: round(seconds, 1) for name, seconds in counted if seconds >= 0.05}
        times = os.times()
        return {
            "seconds": round(used(), 1),
            "of_these_in_other_processes": round(times.children_user + times.children_system, 1),
            "tests": len(self.seconds),
            "slowest": rounded(self.seconds.most_common(SLOWEST)),
            "files": rounded(files.most_common()),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="of the figures in the file")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args, words = parser.parse_known_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test presses Ctrl-C; in the background it is ignored
    stopwatch = Stopwatch()
    code = pytest.main(["--rootdir", str(ROOT), *words], plugins=[stopwatch])
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    former = json.loads(args.output.read_text(encoding="utf-8")) if args.output.exists() else {}
    former.pop("environment", None)
    record.write(args.output, {**former, args.name: {"commit": commit.stdout.strip(), **stopwatch.figures()}})
    return int(code)


if __name__ == "__main__":
    raise SystemExit(main())
