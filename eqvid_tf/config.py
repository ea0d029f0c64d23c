"""What a model is and how it is trained, as frozen dataclasses with a JSON round trip: the home of each default."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

FORMAT = 1  # of a model folder; a folder written by a later format is refused


def option(default: Any, text: str, **metadata: Any) -> Any:
    """A field with a default and the help text that the command line shows."""
    return field(default=default, metadata={"help": text, **metadata})


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The networks: everything that is needed to build the model before its weights are loaded."""

    estimator: str = option("features", "motion estimator", choices=("known", "frames", "features"))
    structure: str = option(
        "partition",
        "partition: f and h cut the frame in two; plain: f, h and g as bare networks",
        choices=("partition", "plain"),
    )
    stride: int = option(1, "pixels of the frame per cell of a feature map", choices=(1, 2, 4))
    width: int = option(16, "channels of the first level of each network")
    channels: int = option(4, "appearance channels of f beside colour and coverage")
    canvas: tuple[int, int] = option(
        (64, 64), "height and width of the frames the networks are trained on", hidden=True
    )
    memory: int = option(1, "backgrounds that h can hold; training sets it to the number of clips", hidden=True)
    cubic: bool = option(
        True, "the sampler reads between a map's pixels by a cubic, which blurs less than bilinearly", hidden=True
    )
    given: bool = option(
        False, "the backgrounds in memory are given, not learned; training from clips sets it", hidden=True
    )

    def __post_init__(self) -> None:
        check_choices(self)
        object.__setattr__(self, "canvas", tuple(int(v) for v in self.canvas))
        for name, least in (("width", 1), ("memory", 1), ("channels", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}; received {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the terms that train_step sums."""

    scene: float = option(10.0, "weight of the scene loss L_s")
    character: float = option(2.0, "weight of the character loss L_c")
    background: float = option(2.0, "weight of the background loss L_b")
    label: float = option(0.3, "weight of the motion loss on pairs the model labels itself")
    hint: float = option(
        1.0, "weight of the hints at the start of training; it falls to a third, and late grows eightfold"
    )

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"loss weight {name} must be finite and not negative; received {value}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run."""

    image_size: int = option(0, "shorter side of the frames the networks see; 0: the clip's own, at most 64")
    minutes: float = option(10.0, "time to train; the schedule is stretched over it")
    steps: int = option(0, "train for this many steps instead of --minutes")
    batch_size: int = option(12, "pairs a step")
    learning_rate: float = option(2e-3, "peak of the cosine schedule")
    precision: str = option("float32", "precision policy", choices=("float32", "mixed_float16", "mixed_bfloat16"))
    doctor: str = option(
        "treat", "of trivial solutions: treat them, or only name them (watch)", choices=("treat", "watch")
    )
    seed: int = option(0, "seed of weights, pairs and random motions")
    checkpoint_seconds: float = option(60.0, "time from one checkpoint to the next", hidden=True)
    keep_frames: bool = option(
        False, "keep a few frames of each clip in the model folder, for fine-tuning", hidden=True
    )

    def __post_init__(self) -> None:
        check_choices(self)
        for name, least in (("image_size", 0), ("steps", 0), ("batch_size", 1), ("seed", 0), ("checkpoint_seconds", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}; received {getattr(self, name)}")
        for name in ("minutes", "learning_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive; received {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """What changes in the course of a training; times are shares of it, from 0 to 1."""

    warm_up: int = option(50, "steps in which the learning rate grows to its full size", hidden=True)
    hints_full: float = option(0.15, "until then hints count in full", hidden=True)
    hints_faded: float = option(0.4, "from then on they count as a reminder", hidden=True)
    hint_reminder: float = option(
        0.3, "weight of a reminder: with none, a character like its background is lost to h", hidden=True
    )
    hints_grow: tuple[float, float] = option(
        (0.5, 0.7), "between these times hints, refreshed from good masks, grow again", hidden=True
    )
    hint_trusted: float = option(8.0, "weight to which they grow", hidden=True)
    refreshes: tuple[float, ...] = option(
        (0.15, 0.3, 0.5, 0.7, 0.85), "when backgrounds and hints are made anew from the masks", hidden=True
    )
    new_share: float = option(0.9, "share of the pairs that are of what is learned, beside what is known", hidden=True)
    kept_frames: int = option(24, "frames of each clip that a model folder keeps for fine-tuning", hidden=True)


@dataclass(frozen=True, kw_only=True)
class DiagnosisConfig:
    """When a trivial solution is diagnosed, and when it is treated; times are shares of the training."""

    most_coverage: float = option(0.6, "mean mask area from which f carries the background", hidden=True)
    least_coverage: float = option(1e-3, "mean mask area below which f is empty", hidden=True)
    most_residual: float = option(
        0.5, "change of h's layer by the frames' own change from which h carries the character", hidden=True
    )
    least_travel: float = option(
        0.2, "size of the estimated motions by the true ones' below which they are stuck", hidden=True
    )
    least_agreement: float = option(
        0.3, "cosine of estimated and true motions below which they are unrelated", hidden=True
    )
    most_drift: float = option(10.0, "factor by which the scale of a feature map may change", hidden=True)
    interval: float = option(0.1, "time between two diagnoses", hidden=True)
    latest_remedy: float = option(0.7, "from then on no time is left to recover, and no remedy is tried", hidden=True)
    least_steps: int = option(100, "before so many steps an estimator that stands still has hardly begun", hidden=True)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A run: model, losses, training, and the clips it saw."""

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    diagnosis: DiagnosisConfig = field(default_factory=DiagnosisConfig)
    clips: tuple[str, ...] = ()
    frames: tuple[int | None, int | None] | None = None  # the cut of them that it saw, (A, B)

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Read what `to_json` wrote; what an earlier folder does not say has its default.

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
            "model": ModelConfig,
            "loss": LossConfig,
            "train": TrainConfig,
            "schedule": ScheduleConfig,
            "diagnosis": DiagnosisConfig,
        }
        return from_dict(cls, {k: from_dict(parts[k], v) if k in parts else v for k, v in values.items()})


def from_dict(kind: Any, values: dict) -> Any:
    """The dataclass with these values; an unknown key is an error."""
    known = {f.name for f in dataclasses.fields(kind)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"{kind.__name__} has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def check_choices(config: Any) -> None:
    """Raise a ValueError where a field with choices holds something else."""
    for f in dataclasses.fields(config):
        choices, value = f.metadata.get("choices"), getattr(config, f.name)
        if choices and value not in choices:
            raise ValueError(f"{f.name} must be one of {', '.join(map(str, choices))}; received {value!r}")
