"""Many clips, each its own model: what a manifest may say, and that work is done once, tried again, and never mistaken.

Most tests put a small script in the place of `eqvid`: it leaves files as the commands do, or dies, by the clip's name.
"""

import fcntl
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
import pytest

from eqvid_tf import cli
from eqvid_tf.batch.engines import Progress, run_batch
from eqvid_tf.batch.manifest import ManifestError, read_manifest
from eqvid_tf.batch.report import write_report
from eqvid_tf.batch.work import Outcome
from eqvid_tf.data.output import OutputError
from eqvid_tf.data.writers import write_png

STUB = """
import json, os, pathlib, shutil, signal, sys, time
verb, words = sys.argv[1], sys.argv[2:]
given = dict(word.lstrip('-').split('=', 1) for word in words if '=' in word)
name = next(part for word in words for part in pathlib.Path(word.split('=')[-1]).parts if part.endswith('-clip'))
place = pathlib.Path(given.get('json') or given.get('output') or given['html'])
folder = place.parent
with open(folder / 'calls', 'a') as calls:
    calls.write(verb + ' ' + words[-1] + '\\n')
if verb == 'inspect':
    if name == 'refused-clip':
        sys.exit('eqvid inspect: error: refused-clip: is too dark.')
    report = dict(frames=2, size=[8, 8], fps=25.0, characters=[], verdict='suits', reasons=[])
    place.write_text(json.dumps(report))
if verb == 'train':
    place.mkdir(exist_ok=True)
    if name == 'dies-clip' or (name == 'tired-clip' and words[-1] != '--resume'):
        (place / 'checkpoint.keras').touch()
        os.kill(os.getpid(), signal.SIGKILL)
    print('training  25%|######', flush=True)
    if name == 'slow-clip':
        signal.signal(signal.SIGTERM, lambda *_: sys.exit('eqvid train: stopped.'))
        while not (folder.parent / 'go').exists():
            time.sleep(0.02)
    (place / 'metrics.json').write_text('{"verdict": []}')
    (place / 'model.keras').touch()
if verb == 'separate':
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(SOURCE, place / 'masks')
if verb == 'export':
    place.touch()
"""


@pytest.fixture
def command(tmp_path):
    """In the place of `eqvid`: its layers are two masks."""
    for index in range(2):
        (tmp_path / "masks").mkdir(exist_ok=True)
        write_png(tmp_path / f"masks/{index}.png", np.full((8, 8), 255 * index, np.uint8))
    script = tmp_path / "stub.py"
    script.write_text(STUB.replace("SOURCE", repr(str(tmp_path / "masks"))))
    return [sys.executable, "-S", str(script)]


@pytest.fixture
def batch(tmp_path, command):
    """Does the clips of these names, folders of two frames, and gives their outcomes by name."""

    def batch(*names, prepare=lambda: None, **options):
        rows = [json.dumps({"path": f"{name}-clip", "name": name, **options.pop(name, {})}) for name in names]
        (tmp_path / "clips.jsonl").write_text("\n".join(rows))
        for name in names:
            draw_clip(tmp_path / f"{name}-clip")
        clips = read_manifest(tmp_path / "clips.jsonl", tmp_path / "out")
        prepare()
        outcomes = run_batch(clips, tmp_path / "out", command=command, **options)
        assert [outcome.name for outcome in outcomes] == list(names)
        return {outcome.name: outcome for outcome in outcomes}

    return batch


def draw_clip(folder, shade=90):
    if not folder.exists():
        for index in range(2):
            write_png(folder / f"{index}.png", np.full((8, 8, 3), shade + index, np.uint8))


def calls(folder) -> Counter:
    """How often each command was called, by its name."""
    return Counter(line.split()[0] for line in (folder / "calls").read_text().splitlines())


def is_free(folder) -> bool:
    """Whether no process works in the folder of a clip."""
    with (folder / ".lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def wait_for(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_manifest_is_read_as_csv_as_json_lines_and_from_a_folder(tmp_path):
    for name in ("a", "b"):
        draw_clip(tmp_path / "clips" / name)
    (tmp_path / "clips/notes.txt").touch()
    csv, lines = tmp_path / "clips.csv", tmp_path / "clips.jsonl"
    csv.write_text("\ufeffpath,name,frames,steps,seed,write\nclips/a,,0:2,30,1,page videos\n\nclips/b,one,,,,\n")
    row = {"path": "clips/a", "frames": "0:2", "steps": 30, "seed": 1, "write": ["videos", "page"]}
    lines.write_text(json.dumps(row) + "\n" + json.dumps({"path": "clips/b", "name": "one", "minutes": None}))
    clips = read_manifest(csv, tmp_path / "out")
    assert clips == read_manifest(lines, tmp_path / "out")
    assert [clip.name for clip in clips] == ["a", "one"] and clips[0].write == ("videos", "page")
    assert (clips[0].train.steps, clips[0].train.seed, clips[1].train.minutes) == (30, 1, 10.0)
    found = read_manifest(tmp_path / "clips", tmp_path / "clips/out")
    assert [(clip.name, clip.path) for clip in found] == [(name, tmp_path / "clips" / name) for name in ("a", "b")]


@pytest.mark.parametrize(
    "text, said",
    [
        ("path,colour\na,red\n", "line 1: expected of name, path, .*received the column 'colour'"),
        ("name\na\n", "line 1: there is no path"),
        ("path,path\na,a\n", "line 1: two columns have one name"),
        ("path\n", "there are no clips in it"),
        ("path\na,b\n", "line 2: more cells than the 1 columns"),
        ('path\n"a\n', "line 2: this is not CSV"),
        ("path\nnowhere.mp4\n", "line 2: .*nowhere.mp4: there is no such file or folder. Check the path"),
        ("path,name\na,\nb,a\n", "line 3: the name 'a' is that of .*line 2, too"),
        ("path,name\na,../b\n", "line 2: name must be a plain name for a folder.*received '../b'"),
        ("path,name\na,..\n", "line 2: name must be a plain name"),
        ("path,name\na,report.html\n", "line 2: name must be a plain name"),
        ("path,minutes\na,ten\n", "line 2: minutes must be a number or auto; received 'ten'"),
        ("path,minutes\na,nan\n", "line 2: minutes must be positive; received nan"),
        ("path,minutes\na,-1\n", "line 2: minutes must be positive; received -1"),
        ("path,steps\na,2.5\n", "line 2: steps must be a whole number; received '2.5'"),
        ("path,steps\na,0\n", "line 2: steps must be at least 1; received 0"),
        ("path,steps,minutes\na,5,1\n", "line 2: minutes and steps are two ways"),
        ("path,seed\na,-1\n", "line 2: seed must be at least 0; received -1"),
        ("path,frames\na,5\n", "line 2: a range of frames is A:B, as in 60:203; received '5'"),
        ("path,write\na,video\n", "line 2: write must be of plates, videos, sheet, page.*received 'video'"),
    ],
)
def test_a_wrong_manifest_is_one_line_before_any_work(tmp_path, capsys, text, said):
    for name in ("a", "b"):
        draw_clip(tmp_path / name)
    (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(ManifestError, match=said) as error:
        read_manifest(tmp_path / "clips.csv", tmp_path / "out")
    assert cli.main(["batch", str(tmp_path / "clips.csv"), "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"eqvid batch: error: {error.value}\n"
    assert not (tmp_path / "out").exists()


def test_results_go_nowhere_where_something_else_is(tmp_path):
    draw_clip(tmp_path / "a")
    (tmp_path / "clips.jsonl").write_text('{"path": "a"}\n')
    with pytest.raises(ManifestError, match="line 1: the clip lies where its results go"):
        read_manifest(tmp_path / "clips.jsonl", tmp_path)
    draw_clip(tmp_path / "out/a")
    with pytest.raises(OutputError, match="is there already, and not from eqvid batch"):
        read_manifest(tmp_path / "clips.jsonl", tmp_path / "out")
    (tmp_path / "clips.jsonl").write_text("[1]")
    with pytest.raises(ManifestError, match=r"line 1: expected .*received \[1\]"):
        read_manifest(tmp_path / "clips.jsonl", tmp_path / "out")


def test_what_fails_is_named_and_the_others_go_on(batch, tmp_path):
    def lose():
        for image in (tmp_path / "gone-clip").iterdir():
            image.unlink()
        (tmp_path / "gone-clip").rmdir()

    found = batch("one", "refused", "dies", "gone", "tired", "<two>", jobs=2, prepare=lose)
    assert [name for name, outcome in found.items() if not outcome.done] == ["refused", "dies", "gone"]
    assert (found["refused"].stage, found["refused"].why) == ("inspect", "refused-clip: is too dark.")
    assert found["refused"].attempts == {"inspect": 1}  # another attempt would say the same
    assert found["dies"].attempts == {"inspect": 1, "train": 3}
    assert found["dies"].why.endswith("where memory runs out; tried 3 times")
    assert "gone-clip: no such file or directory" in found["gone"].why
    assert (tmp_path / "out/tired/calls").read_text().splitlines()[1:3] == ["train --overwrite", "train --resume"]
    page = write_report(list(found.values()), tmp_path / "out").read_text()
    assert page.count("<img ") == 3 and page.count("is too dark.") == 1 and "<two>" not in page
    for name, outcome in found.items():
        folder = tmp_path / "out" / name
        assert json.loads((folder / "report.json").read_text())["why"] == outcome.why
        assert (folder / "done.json").exists() == outcome.done


def test_what_is_done_is_not_done_again(batch, tmp_path):
    folder = tmp_path / "out/one"
    first = batch("one")["one"]
    once = {"inspect": 1, "train": 1, "separate": 1}
    assert batch("one")["one"] == first and calls(folder) == once
    batch("one", one={"write": "page"})  # only what is new is made
    assert calls(folder) == {**once, "export": 1}
    (folder / "done.json").unlink()  # killed before the end
    for mask in (folder / "layers/masks").iterdir():
        mask.unlink()
    (folder / "layers/masks").rmdir()
    (folder / "layers").rmdir()
    batch("one", one={"write": "page"})
    assert calls(folder) == {"inspect": 1, "train": 1, "separate": 2, "export": 1}
    batch("one", one={"seed": 5})
    assert calls(folder) == {"inspect": 1, "train": 2, "separate": 3, "export": 1}
    write_png(tmp_path / "one-clip/1.png", np.zeros((8, 8, 3), np.uint8))
    batch("one", one={"seed": 5})
    assert calls(folder) == {"inspect": 2, "train": 3, "separate": 4, "export": 1}


def test_what_was_made_before_stays_until_it_is_replaced_and_is_not_taken_for_new(batch, tmp_path):
    folder = tmp_path / "out/one"
    batch("one")
    (folder / "run/checkpoint.keras").touch()
    stub = tmp_path / "stub.py"
    works = stub.read_text()
    stub.write_text("import sys; sys.exit(7 if sys.argv[1] == 'train' else 0)")
    failed = batch("one", one={"seed": 5})["one"]
    assert failed.why == "its process ended with exit code 7: it said nothing; tried 3 times"
    assert failed.suits == "suits" and failed.trained is None
    assert (folder / "run/model.keras").exists() and not (folder / "done.json").exists()
    assert "<img" not in write_report([failed], tmp_path / "out").read_text()
    stub.write_text(works)
    assert batch("one", one={"seed": 5})["one"].done
    assert [line for line in (folder / "calls").read_text().splitlines() if "train" in line] == 2 * [
        "train --overwrite"
    ]


def test_a_killed_driver_started_again_goes_on(batch, tmp_path, command):
    draw_clip(tmp_path / "slow-clip")
    (tmp_path / "clips.csv").write_text("path,name\nslow-clip,slow\n")
    code = (
        "import pathlib, sys; from eqvid_tf.batch.engines import run_batch\n"
        "from eqvid_tf.batch.manifest import read_manifest\n"
        "manifest, output = map(pathlib.Path, sys.argv[1:3])\n"
        "run_batch(read_manifest(manifest, output), output, command=sys.argv[3:])"
    )
    driver = subprocess.Popen([sys.executable, "-c", code, tmp_path / "clips.csv", tmp_path / "out", *command])
    folder = tmp_path / "out/slow"
    wait_for(lambda: (folder / "logs/train-1.txt").exists() and "25%" in (folder / "logs/train-1.txt").read_text())
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert not is_free(folder) and not (folder / "done.json").exists()  # its training goes on, and is waited for
    threading.Timer(0.3, (tmp_path / "out/go").touch).start()
    assert batch("slow")["slow"].done
    assert calls(folder) == {"inspect": 1, "train": 1, "separate": 1}


def test_progress_is_watched_and_ctrl_c_stops_what_runs(batch, tmp_path):
    seen: list[Progress] = []

    def watch(progress):
        seen.append(progress["slow"])
        if (progress["slow"].minutes_left or 8) < 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        batch("slow", "one", watch=watch, slow={"minutes": 8})
    assert seen[-1] == Progress("train", 1, 6.0)  # of 8 minutes, by the progress bar in the log
    assert is_free(tmp_path / "out/slow")
    assert (tmp_path / "out/slow/logs/train-1.txt").read_text().endswith("eqvid train: stopped.\n")
    assert not (tmp_path / "out/one").exists()


def test_the_command_says_each_change_and_how_many_failed(tmp_path, capsys, monkeypatch):
    draw_clip(tmp_path / "a")
    (tmp_path / "clips.csv").write_text("path\na\n")
    outcome = Outcome(name="a", path="a", done=False, stage="train", why="it is too dark.")

    def run(clips, output, watch, **options):
        watch({"a": Progress("train", 2, 3.0)})
        watch({"a": Progress("train", 2, 2.0)})
        watch({"a": Progress(outcome=outcome)})
        return [outcome]

    monkeypatch.setattr("eqvid_tf.batch.engines.run_batch", run)
    words = ["batch", str(tmp_path / "clips.csv"), "--output", str(tmp_path / "out")]
    assert cli.main(words) == 1
    said = capsys.readouterr()
    assert said.err == "a: train, attempt 2, 3.0 minutes left\na: failed in train: it is too dark.\n"
    assert said.out == f"{tmp_path}/out/report.html: 0 done; 1 failed: a\n"
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # a terminal, to rich
    assert cli.main(words) == 1
    assert "0 of 1 done, 1 failed" in capsys.readouterr().err


def test_a_clip_from_end_to_end(scene, run, tmp_path):
    """The commands themselves, but for training, which leaves a copy of the model that the tests share."""
    script = tmp_path / "eqvid.py"
    script.write_text(
        "import shutil, sys\n"
        "output = next((word[9:] for word in sys.argv if word.startswith('--output=')), '')\n"
        "if sys.argv[1] == 'train':\n"
        f"    sys.exit(shutil.copytree({str(run)!r}, output, copy_function=shutil.copyfile) and 0)\n"
        "from eqvid_tf.cli import main\n"
        "sys.exit(main())\n"
    )
    (tmp_path / "clips.csv").write_text(f"path,steps,write\n{scene},2,sheet\n")
    clips = read_manifest(tmp_path / "clips.csv", tmp_path / "out")
    outcomes = run_batch(clips, tmp_path / "out", command=[sys.executable, str(script)])
    assert [outcome.done for outcome in outcomes] == [True], outcomes
    folder = tmp_path / "out" / scene.name
    assert len(list((folder / "layers/masks").iterdir())) == outcomes[0].clip["frames"] == 24
    assert {path.name for path in folder.iterdir()} >= {"run", "layers", "inspect.json", "masked.png", "done.json"}
    assert (folder / "sheet.json").is_file()
    assert write_report(outcomes, tmp_path / "out").read_text().count("<img ") == 2


def test_tasks_of_ray_survive_a_node_that_dies(batch, tmp_path):
    """Twelve clips on two nodes, of which one is killed while it works: ten results, and two that are named."""
    pytest.importorskip("ray", reason="ray is not installed: python -m pip install '.[ray]'")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    second, killed = cluster.add_node(num_cpus=2), []
    slow = ["slow", *(f"slow{k}" for k in range(9))]

    def watch(progress):
        if not killed and sum(one.stage == "train" for one in progress.values()) == 2:
            killed.append(cluster.remove_node(second, allow_graceful=False))
            (tmp_path / "out/go").touch()

    try:
        draw_clip(tmp_path / "slow-clip")
        same = {name: {"path": "slow-clip"} for name in slow}
        found = batch(*slow, "refused", "dies", ray=cluster.address, watch=watch, **same)
    finally:
        cluster.shutdown()
    assert killed and [name for name, outcome in found.items() if not outcome.done] == ["refused", "dies"]
    assert found["dies"].attempts["train"] == 3


def test_without_ray_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"--ray needs Ray. Install it: .*\[ray\]"):
        run_batch([], tmp_path, ray="local")
