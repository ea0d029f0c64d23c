"""The config: it comes back from JSON as it went, and takes nothing that it does not know."""

import dataclasses
import json

import pytest

from eqvid_tf.config import (
    FORMAT,
    Config,
    DiagnosisConfig,
    LossConfig,
    ModelConfig,
    ScheduleConfig,
    TrainConfig,
    from_dict,
)

OTHER = Config(
    model=ModelConfig(estimator="frames", structure="plain", stride=4, width=5, canvas=(32, 48), memory=3),
    loss=LossConfig(scene=1.5, hint=0.0),
    train=TrainConfig(steps=7, precision="mixed_bfloat16", seed=9),
    schedule=ScheduleConfig(refreshes=(0.5,), warm_up=3),
    diagnosis=DiagnosisConfig(interval=0.2),
    clips=("one", "two"),
)


@pytest.mark.parametrize("config", [Config(), OTHER], ids=["default", "other"])
def test_json_round_trip(config):
    again = Config.from_json(config.to_json())
    assert again == config and hash(again) == hash(config)
    assert json.loads(config.to_json())["format"] == FORMAT


def test_what_an_earlier_folder_lacks_has_its_default():
    values = json.loads(OTHER.to_json())
    for part in ("schedule", "diagnosis", "frames"):
        del values[part]
    assert values["model"].pop("cubic")
    plain = dataclasses.replace(OTHER, schedule=ScheduleConfig(), diagnosis=DiagnosisConfig())
    assert Config.from_json(json.dumps(values)) == plain


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().model.width = 3
    with pytest.raises(TypeError):
        ModelConfig("known")  # keyword-only


@pytest.mark.parametrize("part", [None, "model", "loss", "train", "schedule", "diagnosis"])
def test_unknown_key_is_an_error(part):
    values = json.loads(OTHER.to_json())
    (values[part] if part else values)["colour"] = 1
    with pytest.raises(ValueError, match="colour"):
        Config.from_json(json.dumps(values))
    with pytest.raises(ValueError, match="widht; it has .*width"):
        from_dict(ModelConfig, {"widht": 8})


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (ModelConfig, {"estimator": "guess"}, "estimator must be one of known, frames, features; received 'guess'"),
        (ModelConfig, {"structure": "round"}, "structure must be one of"),
        (ModelConfig, {"stride": 3}, "stride must be one of 1, 2, 4; received 3"),
        (ModelConfig, {"width": 0}, "width must be at least 1"),
        (ModelConfig, {"memory": 0}, "memory must be at least 1"),
        (LossConfig, {"scene": -1.0}, "scene must be finite and not negative; received -1.0"),
        (LossConfig, {"label": float("nan")}, "label"),
        (TrainConfig, {"precision": "float8"}, "precision must be one of"),
        (TrainConfig, {"minutes": 0.0}, "minutes must be positive"),
        (TrainConfig, {"learning_rate": float("nan")}, "learning_rate must be positive"),
        (TrainConfig, {"batch_size": 0}, "batch_size must be at least 1"),
        (TrainConfig, {"steps": -1}, "steps must be at least 0"),
        (ScheduleConfig, {"warm_up": 0}, "warm_up must be at least 1"),
        (ScheduleConfig, {"hints_faded": 0.1}, "hints_faded must be later than hints_full"),
        (ScheduleConfig, {"new_share": 1.1}, "new_share must be between 0 and 1; received 1.1"),
        (DiagnosisConfig, {"interval": 0.0}, "interval must be positive"),
        (DiagnosisConfig, {"most_coverage": float("nan")}, "most_coverage must be between 0 and 1"),
    ],
)
def test_values_out_of_range(kind, values, message):
    with pytest.raises(ValueError, match=message):
        kind(**values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps({**json.loads(Config().to_json()), "format": FORMAT + 1}), "newer than this package reads"),
        (json.dumps({"model": {}}), "no format number"),
        ("[1, 2]", "no format number"),
        ("{", "Expecting"),
    ],
    ids=["future", "no format", "no object", "no JSON"],
)
def test_what_is_no_config_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Config.from_json(text)
