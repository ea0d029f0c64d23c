"""`eqvid batch`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from eqvid_tf.cli.terminal import quietly, say

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from eqvid_tf.batch.engines import Progress

TEXT = "Many clips, each its own model: inspect, train, separate and export each; what is done is not done again."
EXAMPLE = "eqvid batch clips.csv --output results --jobs 2"
RESUME = " The same command goes on from here."
MOST_ROWS = 20  # of the table; of a thousand clips few are worked on


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eqvid batch`."""
    parser.add_argument(
        "manifest", type=Path, metavar="MANIFEST", help=".csv or .jsonl with a row for each clip, or a folder of clips"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="each clip's results in DIR/NAME, and DIR/report.html"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="clips at a time on this machine (default: 1)")
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="run on a Ray cluster; local starts one on this machine, with room for N clips"
    )


def run(args: argparse.Namespace) -> int:
    """Run `eqvid batch`."""
    with quietly():
        from eqvid_tf.batch.engines import run_batch
        from eqvid_tf.batch.manifest import read_manifest
        from eqvid_tf.batch.report import write_report

    if args.jobs < 1:
        raise ValueError(f"--jobs must be at least 1; received {args.jobs}.")
    clips = read_manifest(args.manifest, args.output)
    with _Watch() as watch:
        outcomes = run_batch(clips, args.output, jobs=args.jobs, ray=args.ray, watch=watch.look)
    failed = [outcome.name for outcome in outcomes if not outcome.done]
    text = f"; {len(failed)} failed: {', '.join(failed)}" if failed else ""
    print(f"{write_report(outcomes, args.output.resolve())}: {len(outcomes) - len(failed)} done{text}")
    return 1 if failed else 0


class _Watch:
    """Shows progress: a table that is drawn again and again on a terminal, else a line for each change."""

    live: Live | None = None
    before: dict[str, Progress]
    worked: set[str]  # on these clips something was done in this run

    def __enter__(self) -> _Watch:
        from rich.console import Console
        from rich.live import Live

        self.began, self.before, self.worked = time.monotonic(), {}, set()
        console = Console(stderr=True)
        if console.is_terminal:
            self.live = Live(console=console, auto_refresh=False)
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live:
            self.live.stop()

    def look(self, progress: dict[str, Progress]) -> None:
        """Show what is new."""
        from eqvid_tf.batch.engines import Progress

        self.worked |= {name for name, one in progress.items() if one.stage}
        if self.live:
            ended = sum(progress[name].outcome is not None for name in self.worked)
            each = (time.monotonic() - self.began) / ended if ended else None
            self.live.update(_table(progress, _caption(progress, each)), refresh=True)
            return
        for name, now in progress.items():
            changed = now._replace(minutes_left=None)
            if changed != self.before.get(name, Progress()):
                say(f"{name}: {_in_words(now)}")
            self.before[name] = changed


def _in_words(progress: Progress) -> str:
    """How far a clip is, in a few words."""
    if outcome := progress.outcome:
        where = f" in {outcome.stage}" if outcome.stage else ""
        minutes = sum(outcome.seconds.values()) / 60
        return f"done in {minutes:.1f} minutes" if outcome.done else f"failed{where}: {outcome.why}"
    again = f", attempt {progress.attempt}" if progress.attempt > 1 else ""
    left = "" if progress.minutes_left is None else f", {progress.minutes_left:.1f} minutes left"
    return f"{progress.stage}{again}{left}"


def _caption(progress: dict[str, Progress], each: float | None) -> str:
    """How many clips are done, and how long the rest takes, if one ends every `each` seconds."""
    outcomes = [one.outcome for one in progress.values() if one.outcome]
    failed, rest = sum(not outcome.done for outcome in outcomes), len(progress) - len(outcomes)
    left = f", about {each * rest / 60:.0f} minutes left" if each and rest else ""
    return f"{len(outcomes) - failed} of {len(progress)} done{f', {failed} failed' if failed else ''}{left}"


def _table(progress: dict[str, Progress], caption: str) -> Table:
    """What is worked on, then what failed."""
    from rich.table import Table
    from rich.text import Text

    table = Table("clip", "stage", "minutes left", box=None, caption=caption, caption_justify="left")
    table.columns[2].justify = "right"
    running = [(name, one) for name, one in progress.items() if one.stage and not one.outcome]
    failed = [(name, one) for name, one in progress.items() if one.outcome and not one.outcome.done]
    for name, one in [*running, *failed][:MOST_ROWS]:
        left = "" if one.minutes_left is None else f"{one.minutes_left:.1f}"
        words = _in_words(one._replace(minutes_left=None))
        table.add_row(Text(name), Text(words, style="red" if one.outcome else ""), left)
    return table
