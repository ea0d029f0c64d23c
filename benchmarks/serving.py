"""Measure a model folder as it is served: in process, from a cold start, over REST and gRPC, under load, with faults.

    python benchmarks/serving.py MODEL --table 3              requests a second, for 1 to 16 clients
    python benchmarks/serving.py MODEL [--seconds 60] [--clients 8] [--output benchmarks/results/serving.json]

Needs the extra [serving]; REST is measured where [serving-test] is installed. The server is serving/stand_in.py, in a
process of its own on this machine: it shares the cores with the clients. Ends with exit code 1 where an answer was
wrong or missing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import itertools
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import numpy as np
from record import write

from eqvid_tf.serving.client import Client, ServingError, encode_png

ROOT = Path(__file__).parents[1]
BATCHING = ROOT / "serving/batching_parameters.txt"
SIZE, DRAG_SIZE, BATCH = 64, 128, 32
UP_S = 120
KINDS = {"http": "kserve", "grpc": "tensorflow_serving"}
PARTS = ("kserve", "tensorflow-serving-api", "grpcio", "protobuf")
STILL = np.eye(2, 3, dtype=np.float32)
COLD = {
    "savedmodel": """
import json, sys, time
start = time.perf_counter()
import tensorflow as tf
imported = time.perf_counter()
module = tf.saved_model.load(sys.argv[1] + "/1")
loaded = time.perf_counter()
frame = tf.zeros((1, 64, 64, 3))
module.signatures["render"](character_frame=frame, background_frame=frame, motion=tf.eye(2, 3, [1]))["frame"].numpy()
print(json.dumps({"import": imported - start, "load": loaded - imported, "first_render": time.perf_counter() - loaded}))
""",
    "eqvid_tf.load": """
import json, sys, time
start = time.perf_counter()
import tensorflow as tf
imported = time.perf_counter()
import eqvid_tf
model = eqvid_tf.load(sys.argv[1])
loaded = time.perf_counter()
frame = tf.zeros((1, 64, 64, 3))
model.render(frame, frame, tf.eye(2, 3, [1])).numpy()
print(json.dumps({"import": imported - start, "load": loaded - imported, "first_render": time.perf_counter() - loaded}))
""",
}


def timed(call, rounds: int) -> dict:
    """Quartiles of a call's milliseconds, after two that are not counted."""
    times = []
    for turn in range(rounds + 2):
        began = time.perf_counter()
        call()
        if turn >= 2:
            times.append((time.perf_counter() - began) * 1e3)
    return dict(zip(("low", "median", "high"), np.round(np.percentile(times, (25, 50, 75)), 2).tolist()))


def clip(count: int, size: int = SIZE, seed: int = 0) -> np.ndarray:
    """Frames that compress as drawn ones do: uint8 [count, size, size, 3]."""
    from eqvid_tf import draw_scene

    frames = draw_scene(seed=seed, size=(size, size), frames=max(count, 2)).frames
    return frames[np.arange(count) % len(frames)]


# ---- in this process, and from a cold one


def in_process(folder: Path) -> dict:
    """Milliseconds a call of the SavedModel's signatures."""
    import tensorflow as tf

    module = tf.saved_model.load(str(folder / "1"))
    ask = lambda name, **inputs: module.signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
    frames, drag = clip(BATCH) / np.float32(255), clip(1, DRAG_SIZE) / np.float32(255)
    still = lambda count: np.tile(STILL, (count, 1, 1))
    maps = [ask(f"encode_{part}", frame=drag)["features"].numpy() for part in ("character", "background")]
    calls = {
        "render, 64 px, 1": lambda: ask(
            "render", character_frame=frames[:1], background_frame=frames[:1], motion=still(1)
        ),
        "render, 64 px, 32": lambda: ask(
            "render", character_frame=frames, background_frame=frames, motion=still(BATCH)
        ),
        "render_features, 128 px, 1": lambda: ask(
            "render_features", character_features=maps[0], background_features=maps[1], motion=still(1)
        ),
        "separate, 64 px, 32": lambda: ask("separate", frame=frames),
    }
    if "transfer" in module.signatures:
        calls["estimate_motion, 64 px, 32"] = lambda: ask("estimate_motion", frame=frames, next_frame=frames[::-1])
        calls["transfer, 64 px, 32"] = lambda: ask(
            "transfer", frame=frames, next_frame=frames[::-1], target_frame=frames
        )
    figures = {}
    for name, call in calls.items():
        count = int(name.rsplit(" ", 1)[1])
        took = timed(call, 100 if count == 1 else 20)
        figures[name] = {"milliseconds": took, "frames_per_second": round(count / took["median"] * 1e3, 1)}
    return figures


def cold(folder: Path, rounds: int = 3) -> dict:
    """Seconds from a cold process to the first render, and of TensorFlow's import; the median of a few."""
    figures = {}
    for name, code in COLD.items():
        runs = [
            json.loads(
                subprocess.run(
                    [sys.executable, "-c", code, folder], check=True, capture_output=True, text=True, cwd=ROOT
                ).stdout.splitlines()[-1]
            )
            for _ in range(rounds)
        ]
        figures[name] = {key: round(statistics.median(run[key] for run in runs), 2) for key in runs[0]}
        figures[name]["in_all"] = round(statistics.median(sum(run.values()) for run in runs), 2)
    return figures


# ---- the server


class Server:
    """serving/stand_in.py on a copy of the model folder; `words` are more of its options."""

    def __init__(self, folder: Path, place: Path, words: Sequence[str | Path] = ()):
        self.folder, self.words = Path(shutil.copytree(folder, place / "model")), words
        self.ports = {kind: free_port() for kind, package in KINDS.items() if importlib.util.find_spec(package)}
        self.log = (place / "server.log").open("a")

    def start(self) -> None:
        """Start it; clients wait until it answers."""
        ports = [
            word for kind, port in self.ports.items() for word in ("--rest" if kind == "http" else "--grpc", str(port))
        ]
        command = [sys.executable, ROOT / "serving/stand_in.py", *ports, "--poll", "0.2", *self.words]
        command.append(f"model={self.folder}")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error) -> None:
        self.kill()
        self.log.close()

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()
        self.process.wait()

    def client(self, kind: str, **options) -> Client:
        """A client over "http" or "grpc"."""
        return Client(f"{kind}://127.0.0.1:{self.ports[kind]}", timeout=UP_S, retry_for=UP_S, **options)

    def processor_seconds(self) -> float:
        """Seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def overhead(server: Server, bare: dict) -> dict:
    """Milliseconds of `render` through client and server, and those that the model itself does not need."""
    frames = clip(BATCH)
    figures = {}
    for kind in server.ports:
        with server.client(kind) as client:
            for dtype, batch in (("uint8", frames), ("float32", frames / np.float32(255))):
                for count in (1, BATCH):
                    took = timed(lambda: client.render(batch[:count], batch[:count], STILL), 30 if count == 1 else 8)
                    model = bare[f"render, 64 px, {count}"]["milliseconds"]["median"]
                    figures[f"{kind}, {dtype}, {count}"] = {
                        "milliseconds": took,
                        "over_the_model_a_frame": round((took["median"] - model) / count, 2),
                    }
    figures["bytes_a_frame"] = {
        "png_in_base64": int(np.mean([len(encode_png(frame)) for frame in frames]) * 4 / 3),
        "numbers_in_json": len(json.dumps(np.round(frames[0] / 255, 7).tolist(), separators=(",", ":"))),
        "float32": frames[0].size * 4,
    }
    return figures


# ---- many clients at once


class Load:
    """Clients that render, each its own frames, from a start to a stop; every answer is compared."""

    def __init__(self, server: Server, kind: str, clients: int):
        self.frames = clip(clients, seed=1)
        self.motions = [STILL + np.float32([[0, 0, 0.1 * index], [0, 0, 0]]) for index in range(clients)]
        self.times: list[float] = []
        self.wrong, self.errors, self.running = 0, [], True
        with server.client(kind) as client:
            self.expected = [
                client.render(frame, self.frames[0], motion).astype(int)
                for frame, motion in zip(self.frames, self.motions)
            ]
        self.threads = [threading.Thread(target=self.ask, args=(server, kind, index)) for index in range(clients)]

    def ask(self, server: Server, kind: str, index: int) -> None:
        """Render as client `index` until the load stops."""
        with server.client(kind) as client:
            while self.running:
                began = time.perf_counter()
                try:
                    made = client.render(self.frames[index], self.frames[0], self.motions[index])
                except ServingError as error:
                    self.errors.append(str(error))
                    continue
                self.times.append(time.perf_counter() - began)
                self.wrong += np.abs(made - self.expected[index]).max() > 1

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error) -> None:
        self.running = False
        for thread in self.threads:
            thread.join()

    def figures(self) -> dict:
        """Answers, errors and times."""
        middle, late, latest = (round(float(np.percentile(self.times, share)) * 1e3, 1) for share in (50, 95, 100))
        return {
            "answers": len(self.times),
            "wrong": int(self.wrong),
            "errors": len(self.errors),
            "first_error": self.errors[:1],
            "milliseconds": {"median": middle, "95%": late, "longest": latest},
        }


def load(server: Server, kind: str, clients: int, seconds: float) -> dict:
    """Answers, and the server's memory, over a while."""
    memory = []
    with Load(server, kind, clients) as running:
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            memory.append(round(server.megabytes(), 1))
            time.sleep(seconds / 60)
    figures = running.figures() | {
        "answers_per_second": round(len(running.times) / seconds, 1),
        "clients": clients,
        "seconds": seconds,
    }
    early, end = statistics.median(memory[10:20]), statistics.median(memory[-10:])
    return figures | {
        "megabytes": {
            "after_a_sixth": early,
            "at_the_end": end,
            "growth": round(end - early, 1),
            "every_sixth": memory[::6],
        }
    }


# ---- a table of requests a second


def requests_of(client: Client, size: int, count: int) -> dict[str, Callable[[], object]]:
    """A request of each kind, of so many frames of a size."""
    frames = clip(count, size) / np.float32(255)
    files = np.array([encode_png(frame) for frame in clip(count, size)])
    ask, still = client.transport.predict, np.tile(STILL, (count, 1, 1))
    features = lambda part: ask(f"encode_{part}", {"frame": frames}, ("features",))["features"]
    maps = {f"{part}_features": features(part) for part in ("character", "background")}
    both = {"character_frame": frames, "background_frame": frames, "motion": still}
    pictures = {"character_frame_bytes": files, "background_frame_bytes": files, "motion": still}
    return {
        "render": lambda: ask("render", both, ("frame",)),
        "render_features": lambda: ask("render_features", {**maps, "motion": still}, ("frame",)),
        "separate": lambda: ask("separate", {"frame": frames}, ("mask",)),
        "estimate_motion": lambda: ask("estimate_motion", {"frame": frames, "next_frame": frames[::-1]}, ("motion",)),
        "render_image": lambda: ask("render_image", pictures, ("frame_bytes",)),
    }


def asked(server: Server, name: str, size: int, count: int, clients: int, seconds: float) -> dict:
    """So many clients ask one kind of request over gRPC for a while: requests a second, and how long they took."""
    times: list[float] = []
    with contextlib.ExitStack() as stack:
        calls = [requests_of(stack.enter_context(server.client("grpc")), size, count)[name] for _ in range(clients)]
        for call in calls:  # what a first request takes is not counted
            call()
        began, busy = time.perf_counter(), server.processor_seconds()

        def ask(call: Callable[[], object]) -> None:
            while time.perf_counter() < began + seconds:
                start = time.perf_counter()
                call()
                times.append(time.perf_counter() - start)

        threads = [threading.Thread(target=ask, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took, busy = time.perf_counter() - began, server.processor_seconds() - busy
    middle, late, latest = (round(float(np.percentile(times, share)) * 1e3, 1) for share in (50, 95, 99))
    return {
        "request": name,
        "size": size,
        "batch": count,
        "clients": clients,
        "requests_per_second": round(len(times) / took, 2),
        "milliseconds": {"50%": middle, "95%": late, "99%": latest},
        "cores_of_the_server": round(busy / took, 2),
    }


def table(model: Path, seconds: float, batches: list[int], path: Path) -> None:
    """Every kind of request, at two sizes, alone and in batches, by one client and by many.

    First of a server that answers each request by itself, then of one that puts those that wait into one batch. A row
    is kept at once; one that is there, of so many seconds, is not measured again.
    """
    names, rows = ("render", "render_features", "separate", "estimate_motion", "render_image"), []
    if path.is_file() and (found := json.loads(path.read_text(encoding="utf-8")))["seconds"] == seconds:
        rows = found["rows"]
    keys = ("server_batches", "request", "size", "batch", "clients")
    done = {tuple(row[key] for key in keys) for row in rows}
    for words in ([], ["--batching", BATCHING]):
        with tempfile.TemporaryDirectory() as place, Server(model, Path(place), words) as server:
            with server.client("grpc") as client:
                client.separate(clip(1)[0])  # waits until it is up
            for name, size, count, clients in itertools.product(names, (SIZE, DRAG_SIZE), batches, (1, 4, 16)):
                if (bool(words), name, size, count, clients) not in done:
                    row = asked(server, name, size, count, clients, seconds)
                    rows.append({"server_batches": bool(words), **row})
                    write(path, {"server": "serving/stand_in.py, gRPC", "seconds": seconds, "rows": rows})


def killed(server: Server, kind: str, clients: int, seconds: float) -> dict:
    """The server is killed and started again while clients ask."""
    with Load(server, kind, clients) as running:
        time.sleep(seconds / 3)
        server.kill()
        before = len(running.times)
        server.start()
        with server.client(kind) as client:
            client.separate(running.frames[0])
        time.sleep(seconds / 3)
    return running.figures() | {"answers_before": before}


def versions(server: Server, kind: str, clients: int, seconds: float) -> dict:
    """Version 2 appears, and version 1 vanishes, while clients ask."""
    first, second = server.folder / "1", server.folder / "2"
    with Load(server, kind, clients) as running:
        time.sleep(seconds / 4)
        shutil.copytree(first, server.folder / ".draft").rename(second)
        took, before = until_answered(server, 2), len(running.times)
        shutil.rmtree(first)
        time.sleep(seconds / 4)
    second.rename(first)
    until_answered(server, 1)
    return running.figures() | {"seconds_to_version_2": round(took, 1), "answers_before": before}


def until_answered(server: Server, version: int) -> float:
    """Seconds until a version is served."""
    began = time.monotonic()
    with server.client("grpc", version=version) as client:
        while time.monotonic() < began + UP_S:
            with contextlib.suppress(ServingError):
                client.separate(clip(1)[0])
                break
            time.sleep(0.05)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument(
        "--table", type=float, default=0, metavar="SECONDS", help="only the load table, each row so long"
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1, BATCH], help="frames of a request of --table")
    parser.add_argument("--output", type=Path, help="default: results/serving.json, or results/serving_load.json")
    args = parser.parse_args()
    args.output = args.output or ROOT / "benchmarks/results" / f"serving{'_load' if args.table else ''}.json"
    if args.table:
        table(args.model, args.table, args.batch, args.output)
        return
    parts = {
        name: importlib.metadata.version(name) for name in PARTS if name != "kserve" or importlib.util.find_spec(name)
    }
    figures: dict = {
        "model": args.model.name,
        "server": parts,
        "in_process": in_process(args.model),
        "cold_start_seconds": cold(args.model),
    }
    with tempfile.TemporaryDirectory() as place:
        with Server(args.model, Path(place)) as server:
            figures["overhead"] = overhead(server, figures["in_process"])
            figures["load"] = {kind: load(server, kind, args.clients, args.seconds) for kind in server.ports}
            figures["killed_and_restarted"] = {
                kind: killed(server, kind, args.clients, args.seconds / 3) for kind in server.ports
            }
            figures["version_2_for_1"] = {
                kind: versions(server, kind, args.clients, args.seconds / 3) for kind in server.ports
            }
    write(args.output, figures)
    print(json.dumps({key: value for key, value in figures.items() if key != "load"}, indent=1))
    runs = [run for part in ("load", "killed_and_restarted", "version_2_for_1") for run in figures[part].values()]
    sys.exit(any(run["wrong"] or run["errors"] for run in runs))


if __name__ == "__main__":
    main()
