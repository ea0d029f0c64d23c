"""The client against a scripted server, then against real parts: KServe's ModelServer, gRPC on PredictionService."""

import base64
import contextlib
import http.client
import importlib.util
import json
import re
import runpy
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eqvid_tf.serving.client import Client, ServingError, Unavailable, encode_png
from eqvid_tf.serving.transports import error_message

ROOT = Path(__file__).parents[1]
FLOAT32 = 1e-5  # numbers as text keep seven decimals
ROUNDING = 1  # grey level of 255: a picture is rounded where it is made
UP_S = 240  # for a server to come up on a busy machine
STILL = np.eye(2, 3, dtype=np.float32)
HAS = {"grpc": "tensorflow_serving", "http": "kserve"}


def noise(count=3, size=(32, 48)):
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)


# -- what is refused before it is sent -----------------------------------------------------------------------------


def test_wrong_arguments_are_refused_in_one_line():
    frames, client = noise() / np.float32(255), Client("http://127.0.0.1:1", retry_for=0)
    broken = frames.copy()
    broken[0, 0, 0, 0] = np.nan
    wrong = {
        "must be [H, W, 3]": lambda: client.separate(frames[..., :2]),
        "none of them 0; received (0, 32": lambda: client.separate(frames[:0]),
        "floats from nan to nan": lambda: client.separate(broken),
        "floats from 0 to 255": lambda: client.separate(noise().astype(np.float32) // 255 * 255),
        "received int64": lambda: client.separate(noise().astype(np.int64)),
        "batches must be of one length; received frame 3, next_frame 2": lambda: client.estimate_motion(
            frames, frames[:2]
        ),
        "frames must be of one size": lambda: client.estimate_motion(frames, frames[:, :16]),
        "motion must be [2, 3]": lambda: client.render(frames, frames, np.eye(3)),
        "motion must be finite and invertible": lambda: client.render(frames, frames, 0 * STILL),
        "and more, which is too large (max_body": lambda: Client("http://127.0.0.1:1", max_body=10_000).separate(
            frames
        ),
        "url must be": lambda: Client("127.0.0.1:8501"),
        "batch must be at least 1": lambda: Client("http://127.0.0.1:1", batch=0),
        "characters must be at least 1": lambda: Client("http://127.0.0.1:1", characters=0),
        "shown is for a model of several": lambda: client.render(frames, frames, STILL, [1]),
    }
    for text, call in wrong.items():
        with pytest.raises(ValueError) as caught:
            call()
        assert text in str(caught.value) and "\n" not in str(caught.value)


def test_over_rest_it_needs_no_tensorflow():
    alone = 'import sys; sys.modules["tensorflow"] = sys.modules["keras"] = None'
    use = 'import eqvid_tf.serving as serving; serving.Client("http://a:1")'
    subprocess.run([sys.executable, "-c", f"{alone}; {use}"], check=True, cwd=ROOT)


# -- a server that follows a script --------------------------------------------------------------------------------


class Scripted(ThreadingHTTPServer):
    """Answers each request with the next of `answers` (status and body, or None to break off), then with `last`."""

    daemon_threads = True

    def __init__(self):
        self.answers, self.last, self.seen = [], None, []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, request))
        answer = self.server.answers.pop(0) if self.server.answers else self.server.last
        answer = answer(request) if callable(answer) else answer
        if answer is None:  # as a server that is killed
            self.close_connection = True
            return
        status, body = answer
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *text):
        pass


@pytest.fixture
def scripted():
    server = Scripted()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_client_speaks_to_several_models_and_versions(scripted):
    one = lambda request: (200, {"predictions": [{"motion": STILL.tolist(), "confidence": 1}]})
    two = lambda request: (200, {"predictions": [{"motion": [STILL.tolist()] * 2, "confidence": [1, 1]}]})
    scripted.answers = [one, two, one]
    frame = noise()[0]
    with Client(scripted.url, "walk") as client:
        pinned, several = client.of("walk", 3), client.of("crowd", characters=2)
        assert client.estimate_motion(frame, frame)[0].shape == (2, 3)
        assert several.estimate_motion(frame, frame)[0].shape == (2, 2, 3)
        pinned.estimate_motion(frame, frame)
        assert client.transport._idle is several.transport._idle  # one connection served all
    paths = ["walk", "crowd", "walk/versions/3"]
    assert [path for path, _ in scripted.seen] == [f"/v1/models/{path}:predict" for path in paths]


def echo(request):
    """The character frame of each row of render_image."""
    return 200, {"predictions": [row["character_frame_bytes"] for row in request["instances"]]}


def test_a_clip_goes_in_batches_of_bounded_size(scripted):
    scripted.last, frames = echo, noise(70)
    with Client(scripted.url + "/behind/", "walk", version=3) as client:
        np.testing.assert_array_equal(client.render(frames, frames[0], STILL), frames)
    assert {path for path, _ in scripted.seen} == {"/behind/v1/models/walk/versions/3:predict"}
    assert [len(request["instances"]) for _, request in scripted.seen] == [32, 32, 6]
    rows = [row for _, request in scripted.seen for row in request["instances"]]
    assert {request["signature_name"] for _, request in scripted.seen} == {"render_image"}
    assert all(row["motion"] == STILL.tolist() for row in rows)
    assert len({row["background_frame_bytes"]["b64"] for row in rows}) == 1
    scripted.seen.clear()
    with Client(scripted.url, max_body=5 * 32 * 48 * 6) as client:
        np.testing.assert_array_equal(client.render(frames[0], frames[1], STILL), frames[0])  # no batch in, none out
        np.testing.assert_array_equal(client.render(frames[:7], frames[1], STILL), frames[:7])
    assert [len(request["instances"]) for _, request in scripted.seen] == [1, 3, 3, 1]
    assert scripted.seen[0][0] == "/v1/models/model:predict"


def test_several_characters(scripted):
    """Motions and what is shown have an axis K, and so has the answer."""
    frames, motions = noise(2), np.stack([STILL] * 3)
    scripted.last = echo
    with Client(scripted.url, characters=3) as client:
        np.testing.assert_array_equal(client.render(frames, frames, motions, [1, 0, 1]), frames)
        np.testing.assert_array_equal(client.render(frames[0], frames[0], motions), frames[0])
        rows = [row for _, request in scripted.seen for row in request["instances"]]
        assert [row["shown"] for row in rows] == [[1, 0, 1]] * 2 + [[1, 1, 1]]
        assert all(row["motion"] == motions.tolist() for row in rows)
        row = {
            "character": np.zeros((3, 32, 48, 3)).tolist(),
            "background": frames[0].tolist(),
            "mask": np.zeros((3, 32, 48, 1)).tolist(),
        }
        scripted.last = 200, {"predictions": [row] * 2}
        character, _, mask = client.separate(frames)
        assert character.shape == (2, 3, 32, 48, 3) and mask.shape == (2, 3, 32, 48, 1)
        for text, call in {
            "motion must be [3, 2, 3]": lambda: client.render(frames, frames, STILL),
            "shown must be [3]": lambda: client.render(frames, frames, motions, [1, 0]),
        }.items():
            with pytest.raises(ValueError, match=re.escape(text)):
                call()


def test_an_unavailable_server_is_asked_again(scripted):
    frame = noise(1)[0]
    scripted.answers, scripted.last = [(503, {"error": "busy"}), None, (502, b"<html>"), None], echo
    with Client(scripted.url) as client:
        np.testing.assert_array_equal(client.render(frame, frame, STILL), frame)
    assert len(scripted.seen) == 5
    scripted.answers = [(503, {"error": "busy"})]
    with (
        Client(scripted.url, retry_for=0) as client,
        pytest.raises(Unavailable, match=r"unavailable for 0 s \(.*busy\)"),
    ):
        client.render(frame, frame, STILL)
    with socket.socket() as free:  # bound, but nobody listens
        free.bind(("127.0.0.1", 0))
        url, began = f"http://127.0.0.1:{free.getsockname()[1]}", time.monotonic()
        with Client(url, retry_for=0.3) as client, pytest.raises(Unavailable, match="refused"):
            client.render(frame, frame, STILL)
    assert 0.1 < time.monotonic() - began < 5


def test_a_bad_answer_is_an_error_in_one_line_and_not_asked_for_again(scripted):
    frames = noise(2)
    as_rows = lambda value: (200, {"predictions": value.tolist()})
    floats, file = frames / np.float32(255), {"b64": base64.b64encode(encode_png(frames[0])[:-30]).decode()}
    nan, other = floats.copy(), {"b64": base64.b64encode(encode_png(frames[0, :16])).decode()}
    nan[0, 0, 0, 0] = np.nan
    by_numbers = {
        "the server answered 404: Servable not found": (
            404,
            {"error": "Servable not found for request: Latest(model)"},
        ),
        "the server answered 400: bad": (400, {"error": "bad\n\t [[{{node f/Conv2D}}]]"}),
        "answered 500: " + "x" * 300 + " …": (500, {"error": "x" * 10_000}),
        "has no frame in it: <html>": (200, b"<html>\n"),
        "has no frame in it": (200, {"outputs": []}),
        "expected frame (2, 32, 48, 3), finite; the server answered with (1, 32, 48, 3)": as_rows(floats[:1]),
        "numbers that are not": as_rows(nan),
    }
    by_pictures = {
        "a picture that cannot be read": (200, {"predictions": [file, file]}),
        "expected frames (32, 48)": (200, {"predictions": [other, other]}),
        "expected 2 pictures": (200, {"predictions": [other]}),
    }
    with Client(scripted.url) as client:
        for asked, answers in ((floats, by_numbers), (frames, by_pictures)):
            for text, answer in answers.items():
                scripted.last, before = answer, len(scripted.seen)
                with pytest.raises(ServingError) as caught:
                    client.render(asked, asked, STILL)
                assert text in str(caught.value) and "\n" not in str(caught.value)
                assert not isinstance(caught.value, Unavailable) and len(scripted.seen) == before + 1
    given_up = threading.Event()
    scripted.last = lambda request: given_up.wait(5) and None
    with Client(scripted.url, timeout=0.1) as client, pytest.raises(ServingError, match=r"no answer in 0\.1 s"):
        client.render(frames, frames, STILL)
    given_up.set()


# -- real parts ----------------------------------------------------------------------------------------------------


class StandIn:
    """serving/stand_in.py in a process of its own: REST where KServe is installed, gRPC where the stubs are."""

    def __init__(self, folder: Path):
        self.folder, self.log = folder, folder.parent / "server.log"
        self.ports = {kind: free_port() for kind, package in HAS.items() if importlib.util.find_spec(package)}
        self.process = None

    def start(self, *only: str) -> None:
        ports = [
            word
            for kind in only or self.ports
            if kind in self.ports
            for word in (f"--{'rest' if kind == 'http' else kind}", str(self.ports[kind]))
        ]
        command = [sys.executable, ROOT / "serving/stand_in.py", *ports, "--poll", "0.1", f"walk={self.folder}"]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def client(self, kind: str, **options) -> Client:
        if kind not in self.ports:
            extra = {"http": "serving-test", "grpc": "serving"}[kind]
            pytest.skip(reason=f"{HAS[kind]} is not installed: python -m pip install -c constraints.txt '.[{extra}]'")
        return Client(
            f"{kind}://127.0.0.1:{self.ports[kind]}", "walk", **{"retry_for": UP_S, "timeout": UP_S} | options
        )


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def server(run, tmp_path_factory):
    """A stand-in on a copy of the model folder; each test leaves it running."""
    server = StandIn(
        shutil.copytree(run, tmp_path_factory.mktemp("served") / "walk", ignore=shutil.ignore_patterns("logs"))
    )
    if not server.ports:
        pytest.skip(reason="neither tensorflow-serving-api nor kserve is installed: python -m pip install '.[serving]'")
    server.start()
    yield server
    server.kill()


def test_the_stand_in_answers_what_arrives_together_as_one_batch(run, trained, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "serving"))
    import stand_in

    parameters = stand_in.read_batching(ROOT / "serving/batching_parameters.txt")
    assert parameters["max_batch_size"] == 32
    for_long = parameters | {"max_batch_size": 4, "batch_timeout_micros": 600_000_000}  # it waits until four are there
    model, frames = stand_in.Model("walk", run, for_long), noise(4) / np.float32(255)
    ask = lambda frame: model.predict("separate", {"frame": frame[None]})["mask"][0]
    with futures.ThreadPoolExecutor(4) as threads:
        masks = np.stack(list(threads.map(ask, frames, timeout=60)))
    np.testing.assert_allclose(masks, trained.separate(frames)[2], atol=FLOAT32)


@pytest.fixture(params=["http", "grpc"])
def client(request, server):
    with server.client(request.param) as client:
        client.separate(noise(1)[0])  # it is up
        yield client


def near(made, expected, tolerance=FLOAT32):
    for a, b in zip(
        made if isinstance(made, tuple) else (made,), expected if isinstance(expected, tuple) else (expected,)
    ):
        np.testing.assert_allclose(np.asarray(a, np.float64), np.asarray(b, np.float64), atol=tolerance, rtol=0)


MOVED = STILL + np.float32([[0, 0, 0.3], [0, 0, -0.2]])


@pytest.fixture(scope="module")
def expected(trained):
    """What the Python model makes of five frames."""
    frames, again = noise(5) / np.float32(255), lambda value: np.tile(value, (5, *[1] * value.ndim))
    return {
        "render": np.asarray(trained.render(frames, frames[::-1], again(MOVED))),
        "separate": trained.separate(frames),
        "transfer": trained.transfer(frames, again(frames[1]), again(frames[2])),
    }


def test_answers_are_those_of_the_model(client, expected):
    frames = noise(5)
    floats = frames / np.float32(255)
    near(client.render(floats, floats[::-1], MOVED), expected["render"])
    made = client.render(frames, frames[::-1], MOVED)
    assert made.dtype == np.uint8
    near(made, expected["render"] * 255, ROUNDING)
    loose = 10 * FLOAT32  # a motion of rounded frames moves whole edges
    near(client.transfer(floats, floats[1], floats[2]), expected["transfer"], loose)
    near(client.separate(floats), expected["separate"])
    near(
        client.estimate_motion(floats[0], floats[1]),
        tuple(np.asarray(value)[0] for value in expected["transfer"][1:]),
        loose,
    )
    assert [value.dtype for value in client.separate(frames)] == [np.uint8, np.uint8, np.float32]


def test_several_clients_at_once_get_their_own_answers(client):
    frames = noise(4)
    motions = np.tile(STILL, (4, 1, 1))
    expected = client.render(frames, frames[0], motions)
    right = []

    def ask(index):
        for _ in range(4):
            made = client.render(frames[index], frames[0], motions[index])
            right.append(np.abs(made.astype(int) - expected[index]).max() <= ROUNDING)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(right) == 16 and all(right)


def claiming(width, height) -> bytes:
    """A PNG file whose header claims a size that its data does not have."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def test_a_bad_request_gets_a_clear_error_and_the_next_is_served(client):
    frame = noise(1)[0]
    floats, good, whole = frame[None] / np.float32(255), encode_png(frame), client.separate(frame)
    shot = lambda file, motion=STILL: {
        "character_frame_bytes": [file],
        "background_frame_bytes": [good],
        "motion": motion[None],
    }
    huge, no_image = claiming(40_000, 36_000), b"no image, but some bytes all the same"  # 4.3 GB of pixels
    raw = {
        "is not compatible with expected shape": ("separate", {"frame": floats[..., :2]}),
        "must be equal": ("estimate_motion", {"frame": floats, "next_frame": floats[:, :16]}),
        "motion must be invertible": ("render_image", shot(good, STILL * 0)),
        "at most 8388608 pixels together": ("render_image", shot(huge)),
        "expected the bytes of a PNG or a JPEG": ("render_image", shot(no_image)),
        "8388608 pixels together; received [height, width]] [3]": (
            "render_image",
            {
                "character_frame_bytes": [claiming(2000, 2000)] * 3,
                "background_frame_bytes": [good] * 3,
                "motion": np.stack([STILL] * 3),
            },
        ),
        "Invalid PNG data": ("render_image", shot(good[:200])),
        "not found in signature def": ("sing", {"frame": floats}),
    }
    if client.url.startswith("grpc"):
        raw["at least one, none empty; received] [0]"] = ("separate", {"frame": floats[:0]})
        raw["frame must be finite"] = ("separate", {"frame": floats * np.nan})
        raw["motion must be finite"] = ("render_image", shot(good, STILL * np.nan))
    else:  # KServe takes no NaN for JSON; TensorFlow Serving does
        raw['expected "instances"'] = ("separate", {"frame": floats[:0]})
        raw["expected a JSON value"] = ("separate", {"frame": floats * np.nan})
    for text, (signature, inputs) in raw.items():
        with pytest.raises(ServingError) as caught:
            client.transport.predict(signature, inputs, ("frame",))
        assert text in str(caught.value) and "\n" not in str(caught.value) and not isinstance(caught.value, Unavailable)
        near(client.separate(frame), whole, 0)


def test_requests_in_columns_get_their_answer_in_columns(server, expected):
    page = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    with server.client("http") as client:
        wanted = client.separate(noise(2))
        frames = np.round(noise(2) / 255.0, 7).tolist()
        for request in (json.loads(re.search(r"```json\n(.*?)```", page, re.DOTALL)[1]), None):
            request = request or {"signature_name": "separate", "inputs": {"frame": frames}}
            status, answer = client.transport.post(json.dumps(request).encode())
            assert status == 200 and set(json.loads(answer)["outputs"]) == {"character", "background", "mask"}
        near(np.float32(json.loads(answer)["outputs"]["mask"]), wanted[2])
        one = {"signature_name": "encode_background", "inputs": {"frame": frames}}
        answer = json.loads(client.transport.post(json.dumps(one).encode())[1])["outputs"]
        assert np.float32(answer).shape[0] == 2  # the only output stands for itself


def test_bytes_that_are_no_request_get_an_error_and_the_next_is_served(server):
    with server.client("http") as client:
        whole = client.separate(noise(1)[0])
        for body in (
            b"",
            b"{",
            b"[]",
            b'{"instances": 3}',
            b'{"instances": [{"frame": "abc"}], "signature_name": "separate"}',
            bytes(99),
        ):
            status, answer = client.transport.post(body)
            assert status in (400, 422, 500) and error_message(answer), body
            near(client.separate(noise(1)[0]), whole, 0)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.ports["http"], timeout=5)) as connection:
            connection.request(
                "POST", "/v1/models/stroll:predict", b'{"instances": [{}]}', {"Content-Type": "application/json"}
            )
            assert connection.getresponse().status == 404
    with server.client("grpc") as client:
        client.transport.model = "stroll"
        with pytest.raises(ServingError, match="NOT_FOUND: Servable not found"):
            client.separate(noise(1)[0])


def test_versions_come_and_go_while_requests_run(server):
    first, second = server.folder / "1", server.folder / "2"
    frame, until = noise(1)[0], time.monotonic() + UP_S
    with (
        server.client("grpc") as client,
        server.client("grpc", version=1) as old,
        server.client("grpc", version=2) as new,
    ):
        whole = client.separate(frame)
        near(old.separate(frame), whole, 0)
        with pytest.raises(ServingError, match=r"Specific\(walk, 2\)"):
            new.separate(frame)
        draft = shutil.copytree(first, server.folder / ".draft")
        draft.rename(second)  # as export does: it is there whole, or not at all
        answered = 0
        while time.monotonic() < until:
            near(client.separate(frame), whole, 0)
            answered += 1
            with contextlib.suppress(ServingError):
                near(new.separate(frame), whole, 0)
                break
        first.rename(server.folder / ".old")
        with pytest.raises(ServingError, match=r"Specific\(walk, 1\)"):
            while time.monotonic() < until:
                old.separate(frame)
        near(client.separate(frame), whole, 0)
        assert answered > 1


@pytest.mark.parametrize(
    ("kind", "language", "made"),
    [("http", "python", "mask"), ("http", "bash", None), ("grpc", "python", "mask")],
    ids=["client", "curl", "grpc"],
)
def test_the_page_on_serving_is_true(server, tmp_path, kind, language, made):
    page = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    client, bare = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    text = (
        re.search(r"```bash\n(.*?)```", page, re.DOTALL)[1]
        if language == "bash"
        else bare
        if kind == "grpc"
        else client
    )
    with server.client(kind) as ready:
        ready.separate(noise(1)[0])
    text = text.replace({"http": ":8501", "grpc": ":8500"}[kind], f":{server.ports[kind]}")
    if language == "python":
        names: dict = {}
        if kind == "grpc":  # a message larger than gRPC's own limit goes, too
            text = text.replace("(1, 32, 48, 3)", "(1, 608, 640, 3)")
        exec(compile(text, "serving.md", "exec"), names)
        assert names[made].shape[-3:] == ((608, 640, 1) if kind == "grpc" else (32, 48, 1))
        return
    if not shutil.which("curl"):
        pytest.skip(reason="there is no curl to send the page's request with")
    (tmp_path / "frame.png").write_bytes(encode_png(noise(1)[0]))
    text = text.replace("python -c", f"{sys.executable} -c")
    subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=True, cwd=tmp_path)
    with Image.open(tmp_path / "moved.png") as image:
        assert image.size == (48, 32)


def test_a_server_killed_and_started_again_is_waited_for(server):  # the last: it comes back without REST
    frames = noise(40)
    with server.client("grpc", batch=1) as client:
        whole, made = client.separate(frames), []
        asking = threading.Thread(target=lambda: made.append(client.separate(frames)))
        asking.start()
        server.kill()
        server.start("grpc")
        asking.join()
        near(made[0], whole, 0)


# -- how a server is configured -----------------------------------------------------------------------------------


def test_the_configuration_is_of_what_is_shipped():
    configs = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2", reason="tensorflow-serving-api is not installed"
    )
    from google.protobuf import text_format

    read = text_format.Parse((ROOT / "serving/models.config").read_text(), configs.ModelServerConfig())
    shipped = {path.parents[1].name for path in (ROOT / "saved_models").glob("*/*/saved_model.pb")}
    assert {model.name for model in read.model_config_list.config} == shipped, (
        "write it again: python serving/configure.py"
    )
    for model in read.model_config_list.config:
        assert model.base_path == f"/models/{model.name}" and model.model_version_policy.latest.num_versions == 2
    compose = (ROOT / "serving/compose.yaml").read_text()
    for line in compose.splitlines():
        if line.endswith(":ro"):
            assert (ROOT / "serving" / line.split("- ")[1].split(":")[0]).exists(), line
    assert "${TF_SERVING_TAG" in compose and "models.config" in compose


def test_configure_names_every_model_folder(tmp_path, monkeypatch):
    configs = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2", reason="tensorflow-serving-api is not installed"
    )
    from google.protobuf import text_format

    for name in ("alien", "walker"):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "saved_model.pb").touch()
    (tmp_path / "notes").mkdir()
    words = ["configure.py", str(tmp_path), "--output", str(tmp_path / "models.config"), "--root", "/m"]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(ROOT / "serving/configure.py"), run_name="__main__")
    read = text_format.Parse((tmp_path / "models.config").read_text(), configs.ModelServerConfig())
    assert [(model.name, model.base_path) for model in read.model_config_list.config] == [
        ("alien", "/m/alien"),
        ("walker", "/m/walker"),
    ]
