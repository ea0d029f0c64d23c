"""The two transports to a server of TensorFlow Serving's interface: REST, by the standard library alone, and gRPC."""

from __future__ import annotations

import base64
import contextlib
import copy
import http.client
import json
import queue
import re
from typing import Any
from urllib.parse import SplitResult

import numpy as np

MESSAGE_LENGTH = 300  # characters of a server's message that are passed on: some repeat the whole request
MOST_PIXELS = 2**23  # of the pictures in a request, 3840 x 2160 and a little: a server gives no more memory to them
BUSY = (429, 502, 503, 504)  # HTTP statuses of a server, or of a proxy before it, that may answer later
LATE = "no answer in {:g} s. Send fewer frames at a time, or give it a longer timeout."


class ServingError(OSError):
    """A server that did not answer, or refused: one line, with its message."""


class Unavailable(ServingError):
    """A server that cannot be reached, is going down, or is busy: worth asking again."""


def _in_brief(message: str) -> str:
    """A server's message in one line, without the graph's node names."""
    line = " ".join(re.split(r"\[\[\{\{|\[Op:", message)[0].split())
    return line if len(line) <= MESSAGE_LENGTH else f"{line[:MESSAGE_LENGTH]} …"


class Rest:
    """REST, `POST /v1/models/NAME[/versions/V]:predict` in rows; numbers travel as text, pictures as base64.

    Args:
        url: of the server.
        model: its name on the server.
        version: of the model; None for the newest.
        timeout: seconds that a request may take.
    """

    takes_pictures = True  # frames go better as encoded files than as numbers
    bytes_per_number = 10  # "0.1234567,"

    def __init__(self, url: SplitResult, model: str, version: int | None, timeout: float):
        self._base, self._path = url.path.rstrip("/"), _predict_path(model, version)
        self._host, self._port, self._timeout = url.hostname or "", url.port, timeout
        self._connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()  # that no thread is using

    def of(self, model: str, version: int | None) -> Rest:
        """The same connections to another model or version."""
        other = copy.copy(self)
        other._path = _predict_path(model, version)
        return other

    def predict(self, signature: str, inputs: dict[str, Any], outputs: tuple[str, ...]) -> dict[str, Any]:
        """The outputs of a signature, by name: float32 arrays [B, ...], or lists of bytes where they are pictures.

        Args:
            signature: its name.
            inputs: by name, arrays [B, ...], or lists of bytes where they are pictures.
            outputs: their names.

        Raises:
            ServingError: the server refused, or its answer cannot be read.
            Unavailable: the server cannot be reached, or is busy.
        """
        rows = [dict(zip(inputs, row)) for row in zip(*map(_column, inputs.values()))]
        body = json.dumps({"signature_name": signature, "instances": rows}, separators=(",", ":")).encode()
        status, answer = self.post(body)
        if status == 200:
            return _outputs_in(answer, outputs)
        kind = Unavailable if status in BUSY else ServingError
        raise kind(f"{signature}: the server answered {status}: {error_message(answer)}")

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the server's answer."""
        connection = self._connection()
        try:
            connection.request("POST", self._base + self._path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            status, text = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._explained(error) from error
        self._idle.put(connection)
        return status, text

    def close(self) -> None:
        """Close the connections; another request opens a new one."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def _connection(self) -> http.client.HTTPConnection:
        """An idle connection, or a new one."""
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return self._connect(self._host, self._port, timeout=self._timeout)

    def _explained(self, error: Exception) -> ServingError:
        """What a broken connection means."""
        message = _in_brief(str(error)) or type(error).__name__
        if isinstance(error, TimeoutError):
            return ServingError(LATE.format(self._timeout))
        if isinstance(error, ConnectionError | http.client.HTTPException):
            return Unavailable(message)
        return ServingError(f"{message}. Check the address.")


def _predict_path(model: str, version: int | None) -> str:
    """Where a model, or a version of it, takes requests."""
    return f"/v1/models/{model}{'' if version is None else f'/versions/{version}'}:predict"


def error_message(answer: bytes) -> str:
    """What the answer of a REST server says that is an error."""
    try:
        return _in_brief(str(json.loads(answer)["error"]))
    except (ValueError, LookupError, TypeError):
        return _text_in_brief(answer)


def _text_in_brief(answer: bytes) -> str:
    return _in_brief(answer[: 4 * MESSAGE_LENGTH].decode("utf-8", "replace"))


def _column(value: np.ndarray | list[bytes]) -> list:
    """An input as JSON, one item a row: pictures in base64, numbers with seven decimals."""
    if isinstance(value, list):
        return [{"b64": base64.b64encode(file).decode()} for file in value]
    return np.round(value.astype(np.float64), 7).tolist()


def _outputs_in(answer: bytes, outputs: tuple[str, ...]) -> dict[str, Any]:
    """The outputs in an answer in rows: the only one of a signature stands for itself, several stand by name."""
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
        names = ", ".join(outputs)
        raise ServingError(f"the server's answer has no {names} in it: {_text_in_brief(answer)}") from error


class Grpc:
    """gRPC, `PredictionService.Predict` without encryption; numbers travel as float32.

    Args: as of `Rest`.

    Raises:
        ImportError: tensorflow-serving-api is not installed.
    """

    takes_pictures = False
    bytes_per_number = 4

    def __init__(self, url: SplitResult, model: str, version: int | None, timeout: float):
        try:  # imports TensorFlow, for its messages
            import grpc
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        except ImportError as error:
            raise ImportError(
                "grpc:// needs tensorflow-serving-api. Install eqvid_tf[serving], or use http://."
            ) from error
        self._grpc, self._request = grpc, predict_pb2.PredictRequest
        waits = {"initial_reconnect_backoff_ms": 100, "min_reconnect_backoff_ms": 100, "max_reconnect_backoff_ms": 1000}
        sizes = {"max_send_message_length": -1, "max_receive_message_length": -1}
        options = [(f"grpc.{key}", value) for key, value in (waits | sizes | {"use_local_subchannel_pool": 1}).items()]
        self._channel = grpc.insecure_channel(url.netloc, options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self.model, self._version, self._timeout = model, version, timeout

    def of(self, model: str, version: int | None) -> Grpc:
        """The same channel to another model or version."""
        other = copy.copy(self)
        other.model, other._version = model, version
        return other

    def predict(self, signature: str, inputs: dict[str, Any], outputs: tuple[str, ...]) -> dict[str, Any]:
        """As `Rest.predict`; an output that the server does not give is None."""
        from tensorflow import make_ndarray, make_tensor_proto

        request = self._request()
        request.model_spec.name, request.model_spec.signature_name = self.model, signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(make_tensor_proto(np.ascontiguousarray(value)))
        try:
            answer = self._stub.Predict(request, self._timeout).outputs
            return {name: make_ndarray(answer[name]) if name in answer else None for name in outputs}
        except self._grpc.RpcError as error:
            raise self._explained(error, signature) from error

    def close(self) -> None:
        """Close the channel, for good."""
        self._channel.close()

    def _explained(self, error: Any, signature: str) -> ServingError:
        """What a failed call means."""
        code, details, codes = error.code(), _in_brief(error.details() or ""), self._grpc.StatusCode
        if code in (codes.UNAVAILABLE, codes.CANCELLED):  # cancelled: the server is going down
            return Unavailable(details)
        if code == codes.DEADLINE_EXCEEDED:
            return ServingError(LATE.format(self._timeout))
        return ServingError(f"{signature}: the server answered {code.name}: {details}")
