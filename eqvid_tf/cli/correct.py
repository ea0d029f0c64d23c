"""`eqvid correct`: a painted mask of one frame, carried to all and learned."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqvid_tf.cli.terminal import add_cache, add_frames, add_of, add_overwrite, bar, opened, progress, quietly, say
from eqvid_tf.cli.train import add_fields, given_fields, summary
from eqvid_tf.config import TrainConfig
from eqvid_tf.model_folder import find_model_folder

if TYPE_CHECKING:
    from eqvid_tf.data.clips import Clip
    from eqvid_tf.training.correction import Proposal

TEXT = (
    "Correct a character's masks: what is painted on one frame is carried along its motion to all frames, and learned "
    "in a fine-tuning of less than a minute. In the mask white is the character and black is not; a picture with "
    "transparency says nothing where it is transparent, one without is the whole mask."
)
EXAMPLE = "eqvid correct runs/walk walk.mp4 --frame 12 --mask painted.png --output runs/walk-2"
FIXED = ("image_size", "precision", "characters", "doctor", "batch_size")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eqvid correct`."""
    add_overwrite(parser)
    add_cache(parser)
    add_frames(parser)
    parser.add_argument("run", type=find_model_folder, metavar="RUN", help="the model folder to correct")
    parser.add_argument("clip", type=Path, metavar="CLIP", help="a clip that it was trained on")
    parser.add_argument("--frame", type=int, required=True, metavar="N", help="the frame that was painted, from 0")
    parser.add_argument("--mask", type=Path, required=True, metavar="PNG", help="what was painted, as large as a frame")
    add_of(parser)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--output", type=Path, metavar="RUN2", help="the new model folder")
    place.add_argument("--in-place", action="store_true", help="into RUN itself: its next SavedModel version")
    place.add_argument(
        "--show", type=Path, metavar="FILE.png", help="only draw what changes in other frames; nothing is learned"
    )
    add_fields(parser, TrainConfig, "", leave_out=FIXED)


def run(args: argparse.Namespace) -> int:
    """Run `eqvid correct`."""
    from eqvid_tf.data.output import OutputError, check_output
    from eqvid_tf.separation.corrections import read_painting

    if args.output and args.output.resolve() == args.run.resolve():
        raise OutputError(f"{args.output}: is the model folder to correct. Pass --in-place for its next version.")
    check_output(args.show or args.output or args.run, args.overwrite or args.in_place, inside=not args.show)
    clip = opened(args.clip, args.frames, args.cache)
    painting = read_painting(args.mask, clip.size)
    with quietly():
        from eqvid_tf.model_folder import load
        from eqvid_tf.separation.cast import Cast
        from eqvid_tf.training import correction
    given: dict[str, Any] = {"of": args.of, "progress": progress}
    if args.show:
        cast = Cast.read(args.run)
        _show(args.show, clip, correction.propose(load(args.run), clip, args.frame, painting, cast=cast, **given))
        return 0
    fields = {"minutes": correction.MINUTES, "learning_rate": correction.LEARNING_RATE}
    train = TrainConfig(**{**fields, **given_fields(args, TrainConfig)})
    with bar(train) as progress_bar:
        given |= {"train": train, "callbacks": [progress_bar], "log": say}
        found = correction.correct(args.run, clip, args.frame, painting, args.output, **given)
    print(summary(args.output or args.run, found.metrics))
    print(_in_words(clip, found.proposal))
    return 0


def _show(path: Path, clip: Clip, proposal: Proposal) -> None:
    """Write the sheet of what changes, and say how much."""
    from eqvid_tf.data.writers import write_png
    from eqvid_tf.training.correction import change_sheet

    write_png(path, change_sheet(proposal))
    print(f"{path}: {_in_words(clip, proposal)}")


def _in_words(clip: Clip, proposal: Proposal) -> str:
    most = proposal.frames[proposal.changed.argmax()]
    return (
        f"{clip.name}: the mask of {proposal.name} changes in {(proposal.changed > 0).sum()} of "
        f"{len(proposal.frames)} frames looked at, most in frame {most} ({proposal.changed.max():.1%} of the frame)"
    )
