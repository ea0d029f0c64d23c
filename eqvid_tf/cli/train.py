"""`eqvid train`."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eqvid_tf.cli.local_workers import run_local
from eqvid_tf.cli.terminal import add_cache, add_frames, add_overwrite, bar, opened, progress, quietly, say
from eqvid_tf.config import Config, LossConfig, ModelConfig, TrainConfig
from eqvid_tf.training.cluster import read_cluster

if TYPE_CHECKING:
    from eqvid_tf.training.workers import Workers

TEXT = "Train one model on all clips."
EXAMPLE = "eqvid train walk.mp4 --output runs/walk --minutes 10"
RESUME = " --resume goes on from the checkpoint."


def arguments(parser: argparse.ArgumentParser) -> None:
    add_overwrite(parser)
    add_cache(parser)
    add_frames(parser)
    parser.add_argument(
        "clips", nargs="+", type=Path, metavar="CLIP", help="video, animated GIF, folder of images, or scene"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="RUN", help="the model folder")
    parser.add_argument("--resume", action="store_true", help="go on from RUN's checkpoint")
    parser.add_argument(
        "--local-workers",
        type=int,
        default=0,
        metavar="N",
        help="share each batch among N processes on this machine, for trying; those of TF_CONFIG count before it",
    )
    parser.add_argument(
        "--keep-frames",
        action="store_true",
        help="keep a few frames of each clip in RUN, so that eqvid finetune does not forget them",
    )
    for kind, prefix in ((ModelConfig, ""), (TrainConfig, ""), (LossConfig, "weight-")):
        add_fields(parser, kind, prefix)


def add_fields(parser: argparse.ArgumentParser, kind: type, prefix: str, leave_out: Container[str] = ()) -> None:
    """Add a flag for each field of a config dataclass that is not hidden; only those given are in the namespace."""
    for field in dataclasses.fields(kind):
        if field.metadata.get("hidden") or field.name in leave_out:
            continue
        parser.add_argument(
            f"--{prefix}{field.name.replace('_', '-')}",
            dest=f"{kind.__name__}.{field.name}",
            type=field.metadata.get("parse", type(field.default)),
            default=argparse.SUPPRESS,
            choices=field.metadata.get("choices"),
            metavar=None if field.metadata.get("choices") else "N",
            help=f"{field.metadata['help']} (default: {field.default})",
        )


def given_fields(args: argparse.Namespace, kind: type) -> dict:
    """The fields of a config that the command line gives."""
    return {key.split(".")[1]: value for key, value in vars(args).items() if key.startswith(f"{kind.__name__}.")}


def run(args: argparse.Namespace) -> int:
    from eqvid_tf.data.output import OutputError, check_output

    if args.local_workers > 1 and not os.environ.get("TF_CONFIG"):
        return run_local(args.words, args.local_workers)
    config = Config(
        model=ModelConfig(**given_fields(args, ModelConfig)),
        loss=LossConfig(**given_fields(args, LossConfig)),
        train=TrainConfig(**given_fields(args, TrainConfig), keep_frames=args.keep_frames),
    )
    check_output(args.output, args.overwrite or args.resume, inside=True)
    if args.resume and not can_resume(args):
        raise OutputError(
            f"{args.output}: there is no checkpoint to resume from; its training has ended or never began."
        )
    before = _checkpoint_config(args) if args.resume else None
    frames = args.frames or (before.frames if before else None)
    clips = [opened(path, frames, args.cache) for path in args.clips]
    workers = _workers()
    with quietly():
        from eqvid_tf.camera.cuts import split_at_cuts
        from eqvid_tf.camera.stabilization import stabilize
        from eqvid_tf.training.train import configure, device, train
    clips = split_at_cuts(clips)
    mosaic = before.model.mosaic if before else config.model.mosaic
    stable = [stabilize(clip, progress, mosaic=mosaic) for clip in clips]
    config = (
        _resume_config(args, before, stable)
        if before
        else dataclasses.replace(configure(config, stable), frames=frames)
    )
    if workers.chief:
        _introduce(stable, config, device(workers.count))
    with bar(config.train) as progress_bar:
        metrics = train(
            config, stable, args.output, resume=args.resume, log=say, callbacks=[progress_bar], workers=workers
        )
    if workers.chief:
        print(summary(args.output, metrics))
    return 0


def _workers() -> Workers:
    """The workers that train together, found before TensorFlow computes anything."""
    index, addresses = read_cluster(os.environ.get("TF_CONFIG", ""))
    if len(addresses) > 1:
        say(f"worker {index} of {len(addresses)}: waiting for all of {', '.join(addresses)}")
        # that another is gone is said in one line of ours, and in a dozen of TensorFlow's
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quietly():
        from eqvid_tf.training.workers import find_workers

        return find_workers()


def _introduce(clips: Sequence, config: Config, device: str) -> None:
    """Say what is trained on what."""
    for clip in clips:
        height, width = clip.filmed.size
        say(f"{clip.name}: {clip.count} frames of {width} x {height} at {clip.fps:g}/s")
    say(f"training on {device}; the networks see {config.model.canvas[1]} x {config.model.canvas[0]}")


def summary(folder: Path, metrics: dict) -> str:
    """The line that is printed at the end of a training."""
    from eqvid_tf.model_folder import verdict_in_words

    return f"{folder}: {metrics['steps']} steps in {metrics['seconds']:.0f} s; {verdict_in_words(metrics['verdict'])}"


def _checkpoint_config(args: argparse.Namespace) -> Config:
    """The config of a training that did not end."""
    with quietly():
        from eqvid_tf.model_folder import read_config
    return read_config(args.output, "checkpoint.json")


def _resume_config(args: argparse.Namespace, config: Config, clips: Sequence) -> Config:
    """The config of a checkpoint, with --minutes, --steps and the like as they are given now."""
    from eqvid_tf.data.output import OutputError

    wanted = {**given_fields(args, ModelConfig), **given_fields(args, LossConfig), **given_fields(args, TrainConfig)}
    fixed = {
        **vars(config.model),
        **vars(config.loss),
        "image_size": config.train.image_size,
        "precision": config.train.precision,
    }
    if args.frames:
        wanted, fixed = {**wanted, "frames": args.frames}, {**fixed, "frames": config.frames}
    for name in sorted(wanted.keys() & fixed.keys()):
        if wanted[name] != fixed[name]:
            raise OutputError(
                f"{args.output}: its training began with {name} {fixed[name]} and cannot go on with {wanted[name]}."
            )
    if (names := tuple(clip.name for clip in clips)) != config.clips:
        raise OutputError(
            f"{args.output}: its training began on {', '.join(config.clips)}; received {', '.join(names)}."
        )
    train = dataclasses.replace(
        config.train, **given_fields(args, TrainConfig), keep_frames=config.train.keep_frames or args.keep_frames
    )
    return dataclasses.replace(config, train=train)


def can_resume(args: argparse.Namespace) -> bool:
    """Whether `eqvid train --resume` finds a checkpoint."""
    return args.command == "train" and (args.output / "checkpoint.keras").is_file()
