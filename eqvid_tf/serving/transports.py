"""The two ways to a server of TensorFlow Serving's interface: REST, with the standard library alone, and gRPC."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import queue
import re
from urllib.parse import SplitResult

import numpy as np

BRIEF = 300  # characters of a server's message that are passed on: some repeat the whole request
LARGEST = 2**23  # pixels of the pictures in a request, 3840 x 2160 and a little: a server makes room for no more
BUSY = (429, 502, 503, 504)
LATE = "no answer in {:g} s. Send fewer frames at a time, or give it a longer timeout."


class ServingError(OSError):
    """A server that did not answer, or refused: one line, with what it said."""


class Unavailable(ServingError):
    """A server that is not there, going down, or busy: worth asking again."""


def in_brief(message: str) -> str:
    """A server's message in one line, without the graph's node names."""
    line = " ".join(re.split(r"\[\[\{\{|\[Op:", message)[0].split())
    return line if len(line) <= BRIEF else f"{line[:BRIEF]} …"


class Rest:
    """REST, `POST /v1/models/NAME[/versions/V]:predict` in rows; numbers travel as text, pictures as base64."""

    pictures = True  # better sent as encoded files than as numbers
    bytes_per_number = 10  # "0.1234567,"

    def __init__(self, url: SplitResult, model: str, version: int | None, timeout: float):
        pinned = "" if version is None else f"/versions/{version}"
        self.path = f"{url.path.rstrip('/')}/v1/models/{model}{pinned}:predict"
        self.url, self.timeout, self.idle = url, timeout, queue.LifoQueue()  # connections that no thread is using

    def predict(self, signature: str, inputs: dict, outputs: tuple[str, ...]) -> dict:
        """The outputs of a signature, by name: float32 arrays [B, ...], or lists of bytes where they are pictures.

        Raises: ServingError; Unavailable.
        """
        columns = [
            [{"b64": base64.b64encode(file).decode()} for file in value]
            if isinstance(value, list)
            else np.round(value.astype(np.float64), 7).tolist()
            for value in inputs.values()
        ]
        rows = [dict(zip(inputs, row)) for row in zip(*columns)]
        body = json.dumps({"signature_name": signature, "instances": rows}, separators=(",", ":")).encode()
        status, answer = self.post(body)
        if status == 200:
            return self.read(answer, outputs)
        kind = Unavailable if status in BUSY else ServingError
        raise kind(f"{signature}: the server answered {status}: {self.message(answer)}")

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the server's answer."""
        connection = self.connection()
        try:
            connection.request("POST", self.path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            status, text = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self.explained(error) from error
        self.idle.put(connection)
        return status, text

    def connection(self) -> http.client.HTTPConnection:
        """An idle connection, or a new one."""
        try:
            return self.idle.get_nowait()
        except queue.Empty:
            kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
            return kind(self.url.hostname, self.url.port, timeout=self.timeout)

    def explained(self, error: Exception) -> ServingError:
        """What a broken connection means."""
        said = in_brief(str(error)) or type(error).__name__
        if isinstance(error, TimeoutError):
            return ServingError(LATE.format(self.timeout))
        if isinstance(error, ConnectionError | http.client.HTTPException):
            return Unavailable(said)
        return ServingError(f"{said}. Check the address.")

    @staticmethod
    def message(answer: bytes) -> str:
        """What an answer that is an error says."""
        try:
            return in_brief(str(json.loads(answer)["error"]))
        except (ValueError, LookupError, TypeError):
            return in_brief(answer[: 4 * BRIEF].decode("utf-8", "replace"))

    @staticmethod
    def read(answer: bytes, outputs: tuple[str, ...]) -> dict:
        """The outputs in an answer in rows: one of a signature's stands for itself, several stand by name."""
        try:
            rows = json.loads(answer)["predictions"]
            columns = {
                name: [row[name] if isinstance(row, dict) and name in row else row for row in rows] for name in outputs
            }
            return {
                name: [base64.b64decode(file["b64"]) for file in column]
                if name.endswith("_bytes")
                else np.array(column, np.float32)
                for name, column in columns.items()
            }
        except (ValueError, LookupError, TypeError) as error:
            raise ServingError(
                f"the server's answer has no {', '.join(outputs)} in it: "
                f"{in_brief(answer[: 4 * BRIEF].decode('utf-8', 'replace'))}"
            ) from error

    def close(self) -> None:
        """Close the connections; another request opens a new one."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.idle.get_nowait().close()


class Grpc:
    """gRPC, `PredictionService.Predict` without encryption; numbers travel as float32."""

    pictures = False
    bytes_per_number = 4

    def __init__(self, url: SplitResult, model: str, version: int | None, timeout: float):
        try:  # imports TensorFlow, for its messages
            import grpc
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        except ImportError as error:
            raise ImportError(
                "grpc:// needs tensorflow-serving-api. Install eqvid_tf[serving], or use http://."
            ) from error
        self.grpc, self.Request = grpc, predict_pb2.PredictRequest
        waits = {"initial_reconnect_backoff_ms": 100, "min_reconnect_backoff_ms": 100, "max_reconnect_backoff_ms": 1000}
        sizes = {"max_send_message_length": -1, "max_receive_message_length": -1}
        options = [(f"grpc.{key}", value) for key, value in (waits | sizes | {"use_local_subchannel_pool": 1}).items()]
        self.channel = grpc.insecure_channel(url.netloc, options)
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model, self.version, self.timeout = model, version, timeout

    def predict(self, signature: str, inputs: dict, outputs: tuple[str, ...]) -> dict:
        """As `Rest.predict`."""
        from tensorflow import make_ndarray, make_tensor_proto

        request = self.Request()
        request.model_spec.name, request.model_spec.signature_name = self.model, signature
        if self.version is not None:
            request.model_spec.version.value = self.version
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(make_tensor_proto(np.ascontiguousarray(value)))
        try:
            answer = self.stub.Predict(request, self.timeout).outputs
            return {name: make_ndarray(answer[name]) if name in answer else None for name in outputs}
        except self.grpc.RpcError as error:
            raise self.explained(error, signature) from error

    def explained(self, error, signature: str) -> ServingError:
        """What a failed call means."""
        code, details = error.code(), in_brief(error.details() or "")
        if code in (
            self.grpc.StatusCode.UNAVAILABLE,
            self.grpc.StatusCode.CANCELLED,
        ):  # cancelled: the server is going down
            return Unavailable(details)
        if code == self.grpc.StatusCode.DEADLINE_EXCEEDED:
            return ServingError(LATE.format(self.timeout))
        return ServingError(f"{signature}: the server answered {code.name}: {details}")

    def close(self) -> None:
        """Close the channel, for good."""
        self.channel.close()
