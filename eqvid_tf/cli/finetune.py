"""`eqvid finetune`."""

from __future__ import annotations

import argparse
from pathlib import Path

from eqvid_tf.cli.terminal import add_cache, add_frames, add_overwrite, bar, opened, quietly, say
from eqvid_tf.cli.train import add_fields, given_fields, summary
from eqvid_tf.config import TrainConfig
from eqvid_tf.model_folder import find_model_folder

TEXT = "Teach a trained model a new character, or a new background, from one short clip."
EXAMPLE = "eqvid finetune runs/walk jump.mp4 --output runs/jump --minutes 2"
FIXED = ("image_size", "precision")  # the source's


def arguments(parser: argparse.ArgumentParser) -> None:
    add_overwrite(parser)
    add_cache(parser)
    add_frames(parser)
    parser.add_argument("run", type=find_model_folder, metavar="RUN", help="the model folder to start from")
    parser.add_argument(
        "clips", nargs="+", type=Path, metavar="CLIP", help="video, animated GIF, folder of images, or scene"
    )
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--output", type=Path, metavar="RUN2", help="the new model folder")
    place.add_argument(
        "--in-place", action="store_true", help="into RUN itself: its next SavedModel version, beside those it has"
    )
    parser.add_argument(
        "--keep-frames", action="store_true", help="keep a few frames of these clips too, for the next fine-tuning"
    )
    add_fields(parser, TrainConfig, "", leave_out=FIXED)


def run(args: argparse.Namespace) -> int:
    from eqvid_tf.data.output import OutputError, check_output

    check_output(args.output or args.run, args.overwrite or args.in_place, inside=True)
    if args.output and args.output.resolve() == args.run.resolve():
        raise OutputError(f"{args.output}: is the model folder to start from. Pass --in-place for its next version.")
    clips = [opened(path, args.frames, args.cache) for path in args.clips]
    with quietly():
        from eqvid_tf.training.finetuning import finetune
    train = TrainConfig(**{"minutes": 2.0, **given_fields(args, TrainConfig)}, keep_frames=args.keep_frames)
    with bar(train) as progress_bar:
        metrics = finetune(args.run, clips, args.output, train=train, callbacks=[progress_bar], log=say)
    print(summary(args.output or args.run, metrics))
    return 0
