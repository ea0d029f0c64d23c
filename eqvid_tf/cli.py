"""The command line, `eqvid`. A user's mistake is one line on stderr and exit code 2; nothing here trains or draws itself."""
from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from eqvid_tf.config import Config, LossConfig, ModelConfig, TrainConfig

EXAMPLES = {
    "demo": "eqvid demo --output eqvid-demo",
    "train": "eqvid train walk.mp4 --output runs/walk --minutes 10",
    "separate": "eqvid separate runs/walk walk.mp4 --output layers",
    "render": "eqvid render runs/walk --shots shots.json --output pictures",
    "evaluate": "eqvid evaluate runs/walk scenes/one scenes/two --json figures.json",
    "export": "eqvid export runs/walk",
}
RESUME = " --resume goes on from the checkpoint."


class Parser(argparse.ArgumentParser):
    """Says a mistake in one line."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: error: {message}. See {self.prog} --help.\n")


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="eqvid", description="Take a video apart into a character, a background and a motion.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    cache = argparse.ArgumentParser(add_help=False)
    cache.add_argument("--cache", default="auto", metavar="DIR",
                       help="where decoded frames are kept: a folder, or none (default: the user's cache folder)")
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--overwrite", action="store_true", help="replace an output that is there and not empty")
    cut = argparse.ArgumentParser(add_help=False)
    cut.add_argument("--frames", type=frame_range, metavar="A:B", help="use frames A up to, not including, B of each clip")
    network = argparse.ArgumentParser(add_help=False)
    network.add_argument("--network-only", action="store_true",
                         help="the networks' own output alone: no pixels taken from frames, no plate")

    def command(name: str, text: str, *parents) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, epilog=f"example: {EXAMPLES[name]}", parents=parents)

    demo = command("demo", "Draw a scene, train on it, take it apart, render it anew, and measure all that.", output)
    demo.add_argument("--output", type=Path, default=Path("eqvid-demo"), help="folder (default: eqvid-demo)")
    demo.add_argument("--minutes", type=float, default=2.5, help="of training (default: 2.5)")
    demo.add_argument("--seed", type=int, default=0)

    train = command("train", "Train one model on all clips.", output, cache, cut)
    train.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="video, animated GIF, folder of images, or scene")
    train.add_argument("--output", type=Path, required=True, metavar="RUN", help="the model folder")
    train.add_argument("--resume", action="store_true", help="go on from RUN's checkpoint")
    for kind, prefix in ((ModelConfig, ""), (TrainConfig, ""), (LossConfig, "weight-")):
        add_fields(train, kind, prefix)

    separate = command("separate", "Take a clip apart: background.png, masks/, character/ and motion.json.", output, cache, cut, network)
    separate.add_argument("run", type=Path, metavar="RUN")
    separate.add_argument("clip", type=Path, metavar="CLIP")
    separate.add_argument("--output", type=Path, required=True, metavar="DIR")

    render = command("render", "Draw shots: a character, a background and a motion each.", output, cache, network)
    render.add_argument("run", type=Path, metavar="RUN")
    render.add_argument("--shots", type=Path, required=True, metavar="FILE", help="JSON list of shots; see docs/formats.md")
    render.add_argument("--output", type=Path, required=True, metavar="DIR")

    evaluate = command("evaluate", "Measure a model beside the scissors on scenes with ground truth.", output, cache, network)
    evaluate.add_argument("run", type=Path, metavar="RUN")
    evaluate.add_argument("scenes", nargs="+", type=Path, metavar="SCENE")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    evaluate.add_argument("--sheet", type=Path, metavar="FILE", help="contact sheet (default: RUN/evaluation.png)")

    export = command("export", "Write or rewrite the SavedModel of a model folder.")
    export.add_argument("run", type=Path, metavar="RUN")
    return top


def frame_range(text: str) -> tuple[int | None, int | None]:
    first, colon, last = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return int(first) if first else None, int(last) if last else None
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected A:B, as in 60:203; received {text!r}") from None


def add_fields(parser: argparse.ArgumentParser, kind: type, prefix: str) -> None:
    """A flag for each field of a config dataclass; only those given are in the namespace."""
    for field in dataclasses.fields(kind):
        if field.metadata.get("hidden"):
            continue
        parser.add_argument(f"--{prefix}{field.name.replace('_', '-')}", dest=f"{kind.__name__}.{field.name}",
                            type=type(field.default), default=argparse.SUPPRESS, choices=field.metadata.get("choices"),
                            metavar=None if field.metadata.get("choices") else "N",
                            help=f"{field.metadata['help']} (default: {field.default})")


def given(args: argparse.Namespace, kind: type) -> dict:
    """The fields of a config that the command line gives."""
    return {key.split(".")[1]: value for key, value in vars(args).items() if key.startswith(f"{kind.__name__}.")}


def say(line: str) -> None:
    """A line on stderr, above a progress bar where there is one."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


def progress(items, label: str, total: int | None = None):
    from tqdm import tqdm

    return tqdm(items, total=total, desc=label, file=sys.stderr, mininterval=0.5, leave=False)


@contextlib.contextmanager
def bar(train: TrainConfig):
    """A Keras callback that shows how far training is, in seconds or steps, and the losses; it is gone after the block."""
    import keras
    from tqdm import tqdm

    class Bar(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            total = train.steps or train.minutes * 60
            self.shown = tqdm(total=round(total), desc="training", file=sys.stderr, mininterval=1.0,
                              bar_format="{desc} {percentage:3.0f}%|{bar:24}| {elapsed}{postfix}")

        def on_train_batch_end(self, batch, logs=None):
            done = int(self.model.optimizer.iterations) if train.steps else float(self.model.seconds_trained)
            self.shown.n = min(self.shown.total, done)
            if batch % 10 == 0:
                self.shown.set_postfix({name.removesuffix("_loss"): f"{float(v):.3g}" for name, v in (logs or {}).items()}, refresh=False)
            self.shown.update(0)

    callback = Bar()
    try:
        yield callback
    finally:
        if hasattr(callback, "shown"):
            callback.shown.close()


@contextlib.contextmanager
def quietly():
    """Drops what libraries write to stderr while TensorFlow starts and looks for a GPU; TF_CPP_MIN_LOG_LEVEL=0 shows it."""
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") < "2" or "tensorflow" in sys.modules:
        yield
        return
    shown = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import tensorflow

        tensorflow.config.list_physical_devices()
        yield
    finally:
        os.dup2(shown, 2)
        os.close(shown)


def run_demo(args) -> int:
    from eqvid_tf.output import new_folder
    from eqvid_tf.scorecard import COLUMNS

    began, settings = time.monotonic(), TrainConfig(minutes=args.minutes, seed=args.seed)
    with new_folder(args.output, args.overwrite) as draft:
        with quietly():
            from eqvid_tf.demo import demo
        with bar(settings) as shown:
            found = demo(draft, minutes=args.minutes, seed=args.seed, say=say, callbacks=[shown])
    out = args.output
    print(f"{'':10s}" + "".join(f"{column:>14s}" for column in COLUMNS))
    for name in ("eqvid", "scissors"):
        row = found[f"{name}/demo"]
        print(f"{name:10s}" + "".join(f"{row[column]:14.3f}" if column in row else f"{'-':>14s}" for column in COLUMNS))
    for path, text in (("sheet.png", "contact sheet: layers and renders beside the truth"), ("new.gif", "the clip, the character, a new video"),
                       ("new.mp4", "the same, as a video"), ("model", "the trained model; model/1 is its SavedModel"),
                       ("results/eqvid/demo", "background, masks, character, motion, shots"), ("scenes", "what was drawn, with its truth"),
                       ("figures.json", "the figures above")):
        print(f"  {out / path}: {text}")
    print(f"done in {time.monotonic() - began:.0f} s")
    return 0


def run_train(args) -> int:
    from eqvid_tf.data.frames import open_clip
    from eqvid_tf.output import OutputError, check_output

    config = Config(model=ModelConfig(**given(args, ModelConfig)), loss=LossConfig(**given(args, LossConfig)),
                    train=TrainConfig(**given(args, TrainConfig)))
    if not args.resume:
        check_output(args.output, args.overwrite)
    elif not resumable(args):
        raise OutputError(f"{args.output}: there is no checkpoint to resume from; its training has ended or never began.")
    clips = [open_clip(path, frames=args.frames, cache=args.cache) for path in args.clips]
    with quietly():
        from eqvid_tf.train import configure, device, train
    config = resumed(args, clips) if args.resume else configure(config, clips)
    for clip in clips:
        say(f"{clip.name}: {clip.count} frames of {clip.size[1]} x {clip.size[0]} at {clip.fps:g}/s")
    say(f"training on {device()}; the networks see {config.model.canvas[1]} x {config.model.canvas[0]}")
    with bar(config.train) as shown:
        metrics = train(config, clips, args.output, resume=args.resume, log=say, callbacks=[shown])
    print(f"{args.output}: {metrics['steps']} steps in {metrics['seconds']:.0f} s; " +
          ("; ".join(metrics["verdict"]) or "no trivial solution found"))
    return 0


def resumed(args, clips) -> Config:
    """The config that a run goes on with: its own, with --minutes, --steps and the like as they are given now."""
    from eqvid_tf.export import read_config
    from eqvid_tf.output import OutputError

    config = read_config(args.output, "checkpoint.json")
    wanted = {**given(args, ModelConfig), **given(args, LossConfig), **given(args, TrainConfig)}
    fixed = {**vars(config.model), **vars(config.loss), "image_size": config.train.image_size, "precision": config.train.precision}
    for name in sorted(wanted.keys() & fixed.keys()):
        if wanted[name] != fixed[name]:
            raise OutputError(f"{args.output}: its training began with {name} {fixed[name]} and cannot go on with {wanted[name]}.")
    if (names := tuple(clip.name for clip in clips)) != config.clips:
        raise OutputError(f"{args.output}: its training began on {', '.join(config.clips)}; received {', '.join(names)}.")
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **given(args, TrainConfig)))


def run_separate(args) -> int:
    from eqvid_tf.data.frames import open_clip
    from eqvid_tf.output import new_folder

    with new_folder(args.output, args.overwrite, keep=[args.run, args.clip]) as draft:
        clip = open_clip(args.clip, frames=args.frames, cache=args.cache)
        with quietly():
            from eqvid_tf.export import load
            from eqvid_tf.separate import ClipLayers, separate
        separate(ClipLayers(load(args.run), clip, network_only=args.network_only, progress=progress), draft)
    steps = "motion.json" if (args.output / "motion.json").is_file() else (
        "no motion.json: the model was trained with the 'known' estimator, and the clip has none")
    print(f"{args.output}: background.png, {clip.count} masks and characters, {steps}")
    return 0


def run_render(args) -> int:
    from eqvid_tf.output import check_output, new_folder

    check_output(args.output, args.overwrite)
    with quietly():
        from eqvid_tf.export import load
        from eqvid_tf.render import frames_of, read_shots, render_shots
    shots = read_shots(args.shots)
    used = [args.shots.parent / name for shot in shots for name in frames_of(shot)]
    with new_folder(args.output, args.overwrite, keep=[args.run, args.shots, *used]) as draft:
        render_shots(load(args.run), args.shots, draft, network_only=args.network_only, cache=args.cache, progress=progress)
    print(f"{args.output}: {len(shots)} pictures")
    return 0


def run_evaluate(args) -> int:
    from eqvid_tf.data.video import write_png
    from eqvid_tf.output import check_output, write_text
    from eqvid_tf.scorecard import figures, table

    if args.json:
        check_output(args.json, args.overwrite)
    sheet_file = check_output(args.sheet or args.run / "evaluation.png", args.overwrite or not args.sheet)
    with quietly():
        from eqvid_tf.evaluate import evaluate
        from eqvid_tf.export import load
    with tempfile.TemporaryDirectory(prefix="eqvid-") as place:
        cards, sheet = evaluate(load(args.run), args.scenes, Path(place), network_only=args.network_only, cache=args.cache,
                                progress=progress)
    print(table(cards))
    if args.json:
        write_text(args.json, json.dumps(figures(cards), indent=1))
    write_png(sheet_file, sheet)
    return 0


def run_export(args) -> int:
    with quietly():
        from eqvid_tf.export import export, load
    print(f"{export(load(args.run), args.run)}: written")
    return 0


def resumable(args) -> bool:
    return args.command == "train" and (args.output / "checkpoint.keras").is_file()


def in_one_line(error: Exception) -> str:
    """What a user's mistake, or a full disk, was. Any other error is ours, and goes on with its traceback."""
    full = "No space left on device" in str(error) or getattr(error, "errno", None) == errno.EDQUOT     # TensorFlow's own too
    if not full and not isinstance(error, ValueError | OSError):
        raise error
    text = "the disk is full" if full else str(error)
    if isinstance(error, OSError) and error.filename:
        text = f"{error.filename}: {text if full else error.strerror.lower()}"
    return " ".join(text.split()) + (". Make room, or choose another place." if full else "")


def main(argv: list[str] | None = None) -> int:
    """Runs a command; returns its exit code: 0, 1 where training failed, 2 for a user's mistake, 130 for Ctrl-C."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if argv is None:                                        # a process of its own
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        for stop in (signal.SIGINT, signal.SIGTERM):        # in the background of a script SIGINT is ignored unless asked for
            signal.signal(stop, signal.default_int_handler)
    args = parser().parse_args(argv)
    runs = {"demo": run_demo, "train": run_train, "separate": run_separate, "render": run_render,
            "evaluate": run_evaluate, "export": run_export}
    try:
        return runs[args.command](args)
    except KeyboardInterrupt:
        say(f"eqvid {args.command}: stopped.{RESUME if resumable(args) else ''}")
        return 130
    except Exception as error:  # noqa: BLE001 - in_one_line raises again what is ours
        if isinstance(error, RuntimeError) and type(error).__module__.split(".")[0] == "eqvid_tf":
            say(f"eqvid {args.command}: failed: {error}")
            return 1
        say(f"eqvid {args.command}: error: {in_one_line(error)}{RESUME if resumable(args) else ''}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
