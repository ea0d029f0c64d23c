"""Several devices and several processes that train one model: what they learn, and what becomes of those that die."""

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from eqvid_tf.cli.local_workers import _free_ports
from eqvid_tf.config import TrainConfig
from eqvid_tf.training import train as training
from eqvid_tf.training.cluster import cluster_config, read_cluster
from eqvid_tf.training.workers import Workers, find_workers

FOLDERS = [__file__.rpartition("/")[0], __file__.rpartition("/tests/")[0]]
FLOAT32 = 1e-5
START = f"""
import json, os, signal, sys, time
from pathlib import Path
sys.path[:0] = {FOLDERS!r}
import conftest, keras, numpy as np, tensorflow as tf
from eqvid_tf.config import *
from eqvid_tf.data.clips import open_clip
from eqvid_tf.training import train as training
from eqvid_tf.training.callbacks import Clock
from eqvid_tf.training.loop import run_loop
from eqvid_tf.training.workers import Workers, find_workers
scene, place = sys.argv[1:]
"""

DEVICES = (
    START
    + """
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from test_model import dataset, make
clip = open_clip(scene)
train = TrainConfig(batch_size=4, image_size=16, steps=2, learning_rate=0.1)
config = training.configure(Config(model=ModelConfig(width=4), train=train), [clip])
material = training.prepare([clip], config.model.canvas, print)

def learned(workers):
    keras.utils.set_random_seed(0)
    with workers.strategy.scope():
        model = training.new_model(config, material.backgrounds)
        model.T.steps = 1  # refinements of a motion, each by the same head
        model.compile(optimizer=keras.optimizers.SGD(0.01), run_eagerly=True)
        model.optimizer.build(model.trainable_variables)
    draw = lambda count, own: training._pairs(
        model, config, material, training.TrainingClips(), 0, replicas=count, own=own
    )
    before = [np.array(weight) for weight in model.trainable_weights]
    clock = Clock(model, train, workers)
    run_loop(model, draw, clock, [clock], workers)
    return before, [np.array(weight) for weight in model.trainable_weights], clock.losses

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
before, one, losses = learned(Workers())
_, two, same = learned(Workers(strategy=strategy))
far = lambda a, b: max(float(np.abs(x - y).max()) for x, y in zip(a, b, strict=True))
np.testing.assert_allclose(list(losses.values()), list(same.values()), rtol=1e-4)
found = {"loop": {"learned": far(before, one), "difference": far(one, two)}}

def fitted(scope, steps=2):
    with scope:
        model = make("known")
        model.compile(optimizer=keras.optimizers.SGD(0.1), run_eagerly=True)
    history = model.fit(dataset(4 * steps), verbose=0, shuffle=False).history
    assert np.isfinite(history["loss"]).all()
    return model.get_weights(), history["loss"][0]

(one, loss), (two, other) = fitted(tf.device("CPU:0")), fitted(strategy.scope())
found["fit"] = {"learned": far(make("known").get_weights(), one), "difference": far(one, two)}
found["fit"]["loss"] = abs(loss - other) / loss
print(json.dumps(found))
"""
)

PROCESS = (
    START
    + """
workers = find_workers()
config = Config(
    model=ModelConfig(estimator="known", structure="plain", width=4),
    train=TrainConfig(batch_size=4, image_size=16, steps=6, checkpoint_seconds=1e-6, doctor="watch"),
    schedule=ScheduleConfig(refreshes=()),
)
made, begin, saved = training.new_model, Clock.on_train_batch_begin, Path(f"{place}-saved")

def eagerly(*args):
    model = made(*args)
    model.run_eagerly = True
    return model

def die(clock, batch, logs=None):
    begin(clock, batch, logs)
    if clock.step == 2 and workers.index == 0:  # the chief, which has written two steps
        saved.touch()
    elif clock.step == 2:
        while not saved.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)

training.new_model, Clock.on_train_batch_begin = eagerly, die
training.TensorBoard._picture = lambda board: tf.zeros((1, 1, 1, 3))
clip = open_clip(scene)
training.train(training.configure(config, [clip]), [clip], f"{place}/{workers.index}", workers=workers)
"""
)


def test_a_cluster_is_read_from_tf_config():
    assert read_cluster("") == (0, [])
    assert read_cluster(cluster_config(["a:1", "b:2"], 1)) == (1, ["a:1", "b:2"])
    vertex = {"cluster": {"worker": ["b:1", "c:1"], "chief": ["a:1"]}, "task": {"type": "worker", "index": "1"}}
    assert read_cluster(json.dumps(vertex)) == (2, ["a:1", "b:1", "c:1"])  # the chief is the first
    assert find_workers({"TF_CONFIG": cluster_config(["a:1"], 0)}).count == 1


def test_the_cluster_scripts_name_all_workers():
    """The scripts of docs/scale.md, with stand-ins for what Slurm and Kubernetes do."""
    page = (Path(FOLDERS[1]) / "docs/scale.md").read_text(encoding="utf-8")
    (slurm,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    (jobset,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (pod,) = re.findall(r"- \|\n(.*?)\n *volumeMounts", jobset, re.DOTALL)
    stand_ins = """
        scontrol() { printf 'n1\\nn2\\n'; }
        eqvid() { printf '%s\\n' "$TF_CONFIG"; }; exec() { "$@"; }; export -f eqvid exec
        srun() { shift; SLURM_PROCID=1 "$@"; }
    """
    pods = [f"eqvid-worker-0-{number}.eqvid:29400" for number in range(4)]
    scripts = {slurm: ["n1:29400", "n2:29400"], textwrap.dedent(pod): pods}
    for script, hosts in scripts.items():
        command = ["bash", "-c", stand_ins + script]
        environment = {**os.environ, "JOB_COMPLETION_INDEX": "1", "SLURM_JOB_NODELIST": "n[1-2]"}
        text = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        assert read_cluster(text) == (1, hosts)


@pytest.mark.parametrize(
    "text",
    [
        "worker",
        "[]",
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
    ],
)
def test_a_wrong_cluster_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match="TF_CONFIG must be .*; received .*unset it") as caught:
        read_cluster(text)
    assert "\n" not in str(caught.value)


def test_what_several_devices_cannot_do_is_refused_before_any_work():
    five = Workers(strategy=SimpleNamespace(num_replicas_in_sync=5))
    refused = {"18666": TrainConfig(precision="mixed_float16", batch_size=10), "received 12. Try 15": TrainConfig()}
    for words, train in refused.items():
        with pytest.raises(ValueError, match=words):
            training._check_workers(train, five)
    training._check_workers(TrainConfig(precision="mixed_bfloat16", batch_size=10), five)


def started(script, scene, place, **environment):
    command = [sys.executable, "-c", script, str(scene), str(place)]
    return subprocess.Popen(command, env={**os.environ, **environment}, stdout=-1, stderr=-1, text=True)


@pytest.fixture(scope="module")
def two_devices(scene, tmp_path_factory):
    """What one device learns, and by how much two differ from it, in a process of its own."""
    process = started(DEVICES, scene, tmp_path_factory.mktemp("devices"))
    out, errors = process.communicate()
    assert process.returncode == 0, errors[-3000:]
    return json.loads(out.splitlines()[-1])


def test_two_devices_learn_what_one_learns_with_random_labels_and_recomposed_pairs(two_devices):
    """With plain gradient descent: Adam and Muon make a difference of rounding as large as a step."""
    loop = two_devices["loop"]
    assert loop["learned"] > 1e-3 and loop["difference"] < FLOAT32, loop


def test_two_devices_learn_with_fit_what_one_learns(two_devices):
    """With a known motion: an estimator's labels are random motions, and `fit` deals the rows in another order.

    Plain gradient descent, so that a difference in a gradient is not divided by its size. The losses are absolute
    values: where one is nearly 0, another order of adding turns a sign, and the same batch twice on one device moves
    L_c's gradient by 0.7 %. Hence 1e-3 of what was learned; gradients that were added up, or never exchanged, would
    differ by as much as was learned.
    """
    fit = two_devices["fit"]
    assert fit["loss"] < FLOAT32 and fit["difference"] < 1e-3 * fit["learned"], fit


def test_a_worker_that_is_killed_ends_all_and_the_chief_alone_writes(scene, tmp_path):
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(2)]
    both = [started(PROCESS, scene, tmp_path, TF_CONFIG=cluster_config(addresses, number)) for number in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert both[1].returncode == -9
    assert both[0].returncode == 1 and "another of the 2 workers is gone" in said[0].splitlines()[-1], said[0][-2000:]
    assert {path.name for path in tmp_path.iterdir()} == {"0"}
    model = training.load_checkpoint(tmp_path / "0")
    assert int(model.optimizer.iterations) == 2
    assert max(np.abs(value).max() for value in map(np.array, model.optimizer.variables[2:])) > 1e-6  # its momentum
