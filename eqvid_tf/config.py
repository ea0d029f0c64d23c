"""The settings of a model and its training, as frozen dataclasses with a JSON round trip: the home of each default."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FORMAT = 1  # of a model folder; a folder written by a later format is refused


def _option(default: Any, text: str, **metadata: Any) -> Any:
    """A field with a default and a help text; it becomes a flag of the command line unless it is hidden."""
    return field(default=default, metadata={"help": text, **metadata})


def minutes_or_auto(text: str) -> float | str:
    """Minutes as a person gives them: a number, or "auto".

    Raises:
        ValueError: it is neither.
    """
    return text if text == "auto" else float(text)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The networks: what is needed to build a model before its weights are loaded."""

    estimator: str = _option("features", "motion estimator", choices=("known", "frames", "features"))
    structure: str = _option(
        "partition",
        "partition: f and h cut the frame in two; plain: f, h and g as bare networks",
        choices=("partition", "plain"),
    )
    stride: int = _option(1, "pixels of the frame per cell of a feature map", choices=(1, 2, 4))
    width: int = _option(16, "channels of the first level of each network")
    channels: int = _option(4, "appearance channels of f beside colour and coverage")
    canvas: tuple[int, int] = _option(
        (64, 64), "height and width of the frames the networks are trained on", hidden=True
    )
    mosaic: float = _option(
        6.0, "frame areas that the background of a travelling camera may have; a clip that needs more has to be cut"
    )
    memory: int = _option(1, "backgrounds that h can hold; training sets it to the number of clips", hidden=True)
    cubic: bool = _option(
        True, "the sampler reads between a map's pixels by a cubic, which blurs less than bilinearly", hidden=True
    )
    given: bool = _option(
        False, "the backgrounds in memory are given, not learned; training from clips sets it", hidden=True
    )
    clip_of: tuple[int, ...] = _option(
        (), "the clip of the character at each place in memory; empty: a clip shows one character", hidden=True
    )
    name_of: tuple[int, ...] = _option(
        (), "the number of the name of the character at each place in memory, -1 for none", hidden=True
    )

    def __post_init__(self) -> None:
        _check_choices(self)
        object.__setattr__(self, "canvas", tuple(int(v) for v in self.canvas))
        _check_least(self, width=1, memory=1, channels=0, mosaic=1)
        if self.clip_of and self.structure != "partition":
            raise ValueError("several characters in a clip need the structure 'partition'")
        if not len(self.clip_of) == len(self.name_of) == (self.memory if self.clip_of else 0):
            raise ValueError(f"clip_of and name_of must be empty, or have one number for each of {self.memory} places")

    @property
    def characters(self) -> int:
        """How many names the model has for characters; 1 where each clip shows one."""
        return max(self.name_of, default=0) + 1

    def with_clips(self, clip_of: Sequence[int], known: int = 0) -> ModelConfig:
        """The same networks with room in memory for more characters, each at a place of its own.

        Where some clip shows several, all have names of their own; where none does, none needs any.

        Args:
            clip_of: of each new character the number of its clip, among the new ones.
            known: how many characters are known already.
        """
        several = bool(known and self.clip_of) or len(set(clip_of)) < len(clip_of)
        both: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
        if several:
            clips, names = (
                (self.clip_of, self.name_of) if known and self.clip_of else (tuple(range(known)), tuple(range(known)))
            )
            first, name = (max(numbers, default=-1) + 1 for numbers in (clips, names))
            both = (*clips, *(first + clip for clip in clip_of)), (*names, *range(name, name + len(clip_of)))
        memory = known + len(clip_of)
        return dataclasses.replace(self, memory=memory, given=True, clip_of=both[0], name_of=both[1])

    def places_of_names(self) -> np.ndarray:
        """Which places in memory have each name, float32 [K, places], 0 or 1."""
        names = np.arange(self.characters)[:, None]
        return (names == np.array(self.name_of)[None]).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the terms that train_step sums."""

    scene: float = _option(10.0, "weight of the scene loss L_s")
    character: float = _option(2.0, "weight of the character loss L_c")
    background: float = _option(2.0, "weight of the background loss L_b")
    label: float = _option(0.3, "weight of the motion loss on pairs the model labels itself")
    hint: float = _option(
        1.0, "weight of the hints at the start of training; it falls to a third, and late grows eightfold"
    )

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"loss weight {name} must be finite and not negative; received {value}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run."""

    image_size: int = _option(0, "shorter side of the frames the networks see; 0: the clip's own, at most 64")
    minutes: float | str = _option(
        10.0,
        "time to train, counted from the end of the first step; the schedule is stretched over it; auto: until twice "
        "the time gains little",
        parse=minutes_or_auto,
    )
    steps: int = _option(0, "train for this many steps instead of --minutes")
    batch_size: int = _option(12, "pairs a step")
    learning_rate: float = _option(2e-3, "peak of the cosine schedule")
    precision: str = _option("float32", "precision policy", choices=("float32", "mixed_float16", "mixed_bfloat16"))
    doctor: str = _option(
        "treat", "of trivial solutions: treat them, or only name them (watch)", choices=("treat", "watch")
    )
    hold_out: int = _option(
        10,
        "one of so many frames is kept out of the losses, to judge the model by, of clips four times as long; 0: none",
    )
    characters: str = _option("auto", "characters in a clip: auto finds them; a number takes the largest")
    seed: int = _option(0, "seed of weights, pairs and random motions")
    checkpoint_seconds: float = _option(60.0, "time from one checkpoint to the next", hidden=True)
    keep_frames: bool = _option(
        False, "keep a few frames of each clip in the model folder, for fine-tuning", hidden=True
    )

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_least(self, image_size=0, steps=0, batch_size=1, seed=0, checkpoint_seconds=0, hold_out=0)
        if self.hold_out == 1:
            raise ValueError("hold_out must be 0 or from 2 on, else no frame is left to train on; received 1")
        if self.characters != "auto" and not (self.characters.isdecimal() and int(self.characters)):
            raise ValueError(f"characters must be auto or a number from 1 on; received {self.characters!r}")
        for name, value in (("minutes", self.minutes), ("learning_rate", self.learning_rate)):
            if (name, value) != ("minutes", "auto") and not 0 < float(value) < float("inf"):
                raise ValueError(f"{name} must be positive; received {value}")

    @property
    def seconds(self) -> float:
        """The time to train; 0 where that is not given, as steps are or the training ends by itself."""
        return 0.0 if self.steps or isinstance(self.minutes, str) else 60 * self.minutes

    @property
    def ends_by_itself(self) -> bool:
        """Whether neither a time nor a number of steps is given."""
        return not (self.steps or self.seconds)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """What changes in the course of a training; times are shares of it, from 0 to 1."""

    warm_up: int = _option(50, "steps in which the learning rate grows to its full size", hidden=True)
    hints_full: float = _option(0.15, "time until which hints count in full", hidden=True)
    hints_faded: float = _option(0.4, "time from which they count as a reminder only", hidden=True)
    hint_reminder: float = _option(
        0.3, "weight of a reminder; with less, a character like its background is lost to h", hidden=True
    )
    hints_grow: tuple[float, float] = _option(
        (0.5, 0.7), "times between which hints count more again, for they come from good masks then", hidden=True
    )
    hint_trusted: float = _option(8.0, "weight of the hints after that", hidden=True)
    refreshes: tuple[float, ...] = _option(
        (0.15, 0.3, 0.5, 0.7, 0.85), "times at which backgrounds and hints are computed again from masks", hidden=True
    )
    refresh_share: float = _option(
        0.2,
        "share that they may take of the time so far, and each of the time left; others are left out, but with --steps",
        hidden=True,
    )
    first_round: float = _option(2.0, "minutes of the first round, where no time is given", hidden=True)
    last_round: float = _option(16.0, "minutes of all rounds, after which there is no other", hidden=True)
    least_gain: float = _option(0.1, "share of the losses that a round has to gain for another one", hidden=True)
    round_start: float = _option(0.5, "time of the schedule at which a further round begins", hidden=True)
    new_share: float = _option(
        0.9, "share of the pairs of a fine-tuning that are of the new clips; the old scenes need no more", hidden=True
    )
    kept_frames: int = _option(
        24, "frames of each clip that a model folder keeps for fine-tuning, at most", hidden=True
    )

    def __post_init__(self) -> None:
        _check_least(self, warm_up=1, kept_frames=2)
        _check_shares(self, "hints_full", "hints_faded", "refresh_share", "new_share")
        if not self.hints_full < self.hints_faded:
            raise ValueError(f"hints_faded must be later than hints_full; received {self.hints_faded}")


@dataclass(frozen=True, kw_only=True)
class DiagnosisConfig:
    """When a trivial solution is diagnosed, and when it is treated; times are shares of the training, from 0 to 1.

    The symptoms are those of `eqvid_tf.training.diagnosis.symptoms`.
    """

    most_coverage: float = _option(
        0.6, "share of the frame; f carries the background if the masks cover more, as no character does", hidden=True
    )
    least_coverage: float = _option(1e-3, "share of the frame; f is empty if the masks cover less", hidden=True)
    most_residual: float = _option(
        0.5, "change of the background layer by that of the frames; h carries the character if it is more", hidden=True
    )
    least_travel: float = _option(
        0.2, "size of the estimated motions by the true ones'; they are stuck at the identity below it", hidden=True
    )
    least_agreement: float = _option(
        0.3, "cosine of estimated and true motions; they are not the character's below it", hidden=True
    )
    least_found: float = _option(
        0.25, "share of a character; it is empty if the networks give it less, split if another gets more", hidden=True
    )
    most_confused: float = _option(
        0.5, "share of a character; it is one with another if the networks give that more", hidden=True
    )
    most_drift: float = _option(
        10.0, "factor; the scales drift if a feature map grows or shrinks by more since the start", hidden=True
    )
    interval: float = _option(0.1, "time between two diagnoses; a remedy needs as much to show", hidden=True)
    latest_remedy: float = _option(0.7, "time after which no remedy is tried, as none is left to recover", hidden=True)
    least_steps: int = _option(
        100, "steps; a training that is asked for fewer may end with a useless model, and only says so", hidden=True
    )

    def __post_init__(self) -> None:
        _check_least(self, least_steps=0)
        _check_shares(
            self, "most_coverage", "least_coverage", "interval", "latest_remedy", "least_found", "most_confused"
        )
        if not self.interval:
            raise ValueError(f"interval must be positive; received {self.interval}")


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a model folder: the networks, the losses, the training, and the clips that it saw."""

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    diagnosis: DiagnosisConfig = field(default_factory=DiagnosisConfig)
    clips: tuple[str, ...] = ()
    frames: tuple[int | None, int | None] | None = None  # --frames A:B, the part of each clip that it saw

    def to_json(self) -> str:
        """The text of config.json."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Read what `to_json` wrote; a key that an earlier folder lacks gets its default.

        Raises:
            ValueError: bad JSON, an unknown key, or a format newer than this package reads.
        """
        values = json.loads(text)
        version = values.pop("format", None) if isinstance(values, dict) else None
        if type(version) is not int:
            raise ValueError("config.json has no format number; it is not the config of a model folder")
        if version > FORMAT:
            raise ValueError(
                f"model folder format {version} is newer than this package reads ({FORMAT}); upgrade eqvid_tf"
            )
        parts = {
            f.name: f.default_factory for f in dataclasses.fields(cls) if f.default_factory is not dataclasses.MISSING
        }
        return from_dict(cls, {k: from_dict(parts[k], v) if k in parts else v for k, v in values.items()})


def from_dict(kind: Any, values: dict) -> Any:
    """Make a config dataclass of a JSON object.

    Raises:
        ValueError: an unknown key.
    """
    known = {f.name for f in dataclasses.fields(kind)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"{kind.__name__} has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _check_least(config: Any, **least: float) -> None:
    for name, value in least.items():
        if not getattr(config, name) >= value:
            raise ValueError(f"{name} must be at least {value}; received {getattr(config, name)}")


def _check_shares(config: Any, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} must be between 0 and 1; received {getattr(config, name)}")


def _check_choices(config: Any) -> None:
    for f in dataclasses.fields(config):
        choices, value = f.metadata.get("choices"), getattr(config, f.name)
        if choices and value not in choices:
            raise ValueError(f"{f.name} must be one of {', '.join(map(str, choices))}; received {value!r}")
