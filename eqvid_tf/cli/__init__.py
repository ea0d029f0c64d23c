"""The command line, `eqvid`: a user's mistake is one line on stderr and exit code 2.

A command is a module with TEXT and EXAMPLE, which its --help shows, `arguments(parser)` and `run(args)`, which returns
the exit code.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from typing import NoReturn

from eqvid_tf.cli import (
    batch,
    cast,
    correct,
    demo,
    evaluate,
    export,
    finetune,
    inspect,
    motion,
    render,
    separate,
    studio,
    train,
)
from eqvid_tf.cli.terminal import say
from eqvid_tf.parallel import share_heaps

COMMANDS = {
    "demo": demo,
    "inspect": inspect,
    "train": train,
    "finetune": finetune,
    "cast": cast,
    "correct": correct,
    "separate": separate,
    "render": render,
    "motion": motion,
    "evaluate": evaluate,
    "export": export,
    "batch": batch,
    "studio": studio,
}


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code.

    0; 1 where training, or a clip of a batch, failed; 2 for a user's mistake; 130 for Ctrl-C.

    Args:
        argv: the words after `eqvid`; None for those of this process.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if argv is None:  # a process of its own
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        for stop in (signal.SIGINT, signal.SIGTERM):  # in the background of a script SIGINT is ignored unless asked for
            signal.signal(stop, signal.default_int_handler)
        share_heaps()
    args = _parser().parse_args(argv)
    args.words = sys.argv[1:] if argv is None else argv
    try:
        return COMMANDS[args.command].run(args)
    except KeyboardInterrupt:
        say(f"eqvid {args.command}: stopped.{batch.RESUME if args.command == 'batch' else _how_to_resume(args)}")
        return 130
    except Exception as error:
        if isinstance(error, RuntimeError) and type(error).__module__.split(".")[0] == "eqvid_tf":
            say(f"eqvid {args.command}: failed: {error}")
            return 1
        say(f"eqvid {args.command}: error: {_in_one_line(error)}{_how_to_resume(args)}")
        return 2


class _Parser(argparse.ArgumentParser):
    """Says a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}. See {self.prog} --help.\n")


def _parser() -> argparse.ArgumentParser:
    top = _Parser(prog="eqvid", description="Take a video apart into a character, a background and a motion.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        module.arguments(
            commands.add_parser(name, help=module.TEXT, description=module.TEXT, epilog=f"example: {module.EXAMPLE}")
        )
    return top


def _in_one_line(error: Exception) -> str:
    """A user's mistake, or a full disk, in one line. Any other error is ours, and goes on with its traceback."""
    disk_full = "No space left on device" in str(error) or getattr(error, "errno", None) == errno.EDQUOT
    if not disk_full and not isinstance(error, ValueError | OSError):
        raise error
    text = "the disk is full" if disk_full else str(error)
    if isinstance(error, OSError) and error.filename:
        text = f"{error.filename}: {text if disk_full else (error.strerror or '').lower()}"
    return " ".join(text.split()) + (". Make room, or choose another place." if disk_full else "")


def _how_to_resume(args: argparse.Namespace) -> str:
    """A sentence on how to go on, where a training left a checkpoint."""
    return train.RESUME if train.can_resume(args) else ""
