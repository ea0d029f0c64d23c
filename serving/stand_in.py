"""A stand-in for TensorFlow Serving where its binary cannot be had: its interface, with TensorFlow as the engine.

    python serving/stand_in.py --rest 8501 --grpc 8500 [--batching FILE] NAME=FOLDER [NAME=FOLDER ...]

REST is a real KServe ModelServer (the extra [serving-test]), in its V1 protocol: `/v1/models/NAME:predict`, without
`/versions/V`. gRPC is `PredictionService.Predict` on the stubs of tensorflow-serving-api (the extra [serving]). As
TensorFlow Serving does by default it serves the newest version in each folder, loads one that appears, and unloads the
older when the new one is ready. With --batching requests are batched by the scheduler that TensorFlow Serving uses,
which is TensorFlow's own, and by its file of parameters. The tests and benchmarks/serving.py use it. It listens on this
machine alone, and has no TLS and no limits: it is not for production.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import re
import signal
import sys
import threading
from concurrent import futures
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import numpy as np
import tensorflow as tf

HOST = "127.0.0.1"


class Missing(LookupError):
    """A model or a version that is not served."""


class Refused(ValueError):
    """A request that the model cannot answer."""


class Model:
    """The versions of a model folder that are loaded: the newest, by number.

    Args:
        name: that it is served by.
        folder: of its versions.
        batching: parameters of TensorFlow's batch scheduler; none where each request is answered by itself.
    """

    def __init__(self, name: str, folder: Path, batching: dict[str, int] | None = None):
        self.name, self.folder, self.batching, self.loaded = name, folder, batching, {}
        self.update()

    def update(self) -> None:
        """Load the newest version if it is not loaded, and only then unload the others."""
        numbers = [int(path.parent.name) for path in self.folder.glob("*/saved_model.pb") if path.parent.name.isdigit()]
        newest = max(numbers, default=None)
        if newest not in self.loaded:
            self.loaded = {} if newest is None else {newest: self._load(newest)}

    def _load(self, version: int) -> tuple:
        """A version: its module, which keeps the variables, and what answers each signature by name."""
        module = tf.saved_model.load(str(self.folder / str(version)))
        if not self.batching:
            return module, module.signatures
        queue = lambda name: f"{self.name}_{version}_{name}"
        return module, {name: batched(each, queue(name), self.batching) for name, each in module.signatures.items()}

    def predict(self, signature: str, inputs: dict, version: int | None = None) -> dict:
        """The outputs of a signature by name, numpy.

        Args:
            signature: its name; "" for serving_default.
            inputs: arrays by name, or functions of a dtype that give an array.
            version: of the model; None for the newest.

        Raises:
            Missing: no such version.
            Refused: the model cannot answer.
        """
        loaded = self.loaded
        if not loaded or version not in (None, *loaded):
            which = f"Latest({self.name})" if version is None else f"Specific({self.name}, {version})"
            raise Missing(f"Servable not found for request: {which}")
        module, answers = loaded[max(loaded)]
        signature = signature or "serving_default"
        if signature not in answers:
            raise Refused(f'Serving signature name: "{signature}" not found in signature def')
        specs = module.signatures[signature].structured_input_signature[1]
        if set(specs) != set(inputs):
            raise Refused(f"input keys must be {', '.join(sorted(specs))}; received {', '.join(sorted(inputs))}")
        try:
            tensors = {
                name: tf.constant(value(specs[name].dtype) if callable(value) else value, specs[name].dtype)
                for name, value in inputs.items()
            }
            return {name: value.numpy() for name, value in answers[signature](**tensors).items()}
        except (tf.errors.InvalidArgumentError, ValueError, TypeError) as error:
            raise Refused(getattr(error, "message", str(error)).split("<stack traces unavailable>")[-1]) from error


def batched(function, name: str, parameters: dict[str, int]):
    """A signature that answers requests which arrive together as one batch."""
    (_, specs), outputs = function.structured_input_signature, sorted(function.structured_outputs)
    inputs = sorted(specs)

    @tf.nondifferentiable_batch_function(**parameters)
    def together(*tensors):
        found = function(**dict(zip(inputs, tensors)))
        return [found[output] for output in outputs]

    @tf.function(input_signature=[specs[key] for key in inputs], autograph=False)
    def answer(*tensors):
        with tf.name_scope(name):  # the scheduler has a queue for each name
            return together(*tensors)

    answer.get_concrete_function()
    return lambda **tensors: dict(zip(outputs, answer(*(tensors[key] for key in inputs))))


def read_batching(path: Path) -> dict[str, int]:
    """The parameters of TensorFlow's batch scheduler in a file of TensorFlow Serving's."""
    known = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    found = dict(re.findall(r"^(\w+) *\{ *value: *(\d+) *\}", path.read_text(encoding="utf-8"), re.MULTILINE))
    return {name: int(found[name]) for name in known}


def watch(models: dict[str, Model], seconds: float) -> None:
    """Look for new versions every so many seconds, in a thread of its own."""

    def loop():
        while not threading.Event().wait(seconds):
            for model in models.values():
                model.update()

    threading.Thread(target=loop, daemon=True).start()


# ---- gRPC


def start_grpc(models: dict[str, Model], port: int):
    """A started gRPC server."""
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            spec = request.model_spec
            version = spec.version.value if spec.HasField("version") else None
            try:
                if spec.name not in models:
                    raise Missing(f"Servable not found for request: Latest({spec.name})")
                inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
                outputs = models[spec.name].predict(spec.signature_name, inputs, version)
            except Missing as error:
                context.abort(grpc.StatusCode.NOT_FOUND, error.args[0])
            except Refused as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            answer = predict_pb2.PredictResponse(model_spec=spec)
            for name, value in outputs.items():
                answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            return answer

    sizes = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
    server = grpc.server(futures.ThreadPoolExecutor(8), options=sizes)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    if not server.add_insecure_port(f"{HOST}:{port}"):
        sys.exit(f"stand_in.py: port {port} is taken")
    server.start()
    return server


# ---- REST


def serve_rest(models: dict[str, Model], port: int) -> None:
    """Run a KServe ModelServer until it is stopped."""
    sys.argv[1:] = []  # KServe reads the command line when it is imported
    import kserve
    import uvicorn
    from kserve.errors import InvalidInput, ModelNotFound
    from kserve.protocol.rest import server as rest

    class Served(kserve.Model):
        def __init__(self, model: Model):
            super().__init__(model.name)
            self.model, self.ready = model, True

        async def predict(self, payload, headers=None):
            return await asyncio.get_running_loop().run_in_executor(None, self.answer, payload)

        def answer(self, payload) -> dict:
            payload = payload if isinstance(payload, dict) else {}
            values = payload.get("inputs")
            in_columns = isinstance(values, dict) and bool(values)
            if not in_columns:
                values = of_rows(payload.get("instances"))
            inputs = {name: lambda dtype, name=name: column(values[name], dtype) for name in values}
            try:
                outputs = self.model.predict(payload.get("signature_name", ""), inputs)
            except Missing as error:
                raise ModelNotFound(self.name) from error
            except Refused as error:
                raise InvalidInput(str(error)) from error
            columns = {name: plain(value) for name, value in outputs.items()}
            only = next(iter(columns.values())) if len(columns) == 1 else None
            if in_columns:
                return {"outputs": only or columns}
            return {"predictions": only or [dict(zip(columns, row)) for row in zip(*columns.values())]}

    def of_rows(rows) -> dict[str, list]:
        """The inputs of a request in rows, by name."""
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise InvalidInput('expected "instances", a list of one object or more, or "inputs", an object of lists')
        if len({tuple(sorted(row)) for row in rows}) > 1:
            raise InvalidInput('expected the same keys in each of "instances"')
        return {name: [row[name] for row in rows] for name in rows[0]}

    # KServe would listen on every address of the machine.
    config = uvicorn.Config
    rest.uvicorn.Config = lambda app, **options: config(app, **{**options, "host": HOST, "access_log": False})
    server = kserve.ModelServer(http_port=port, enable_grpc=False, enable_latency_logging=False)
    server.start([Served(model) for model in models.values()])


def column(values: list, dtype: tf.DType):
    """One input of all rows."""
    if dtype == tf.string:
        return [base64.b64decode(value["b64"], validate=True) if isinstance(value, dict) else value for value in values]
    return np.array(values, dtype.as_numpy_dtype)


def plain(value: np.ndarray) -> list:
    """An output as JSON: bytes in base64."""
    return [{"b64": base64.b64encode(file).decode()} for file in value] if value.dtype == object else value.tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--rest", type=int, default=0, help="port of the REST interface; 0 for none")
    parser.add_argument("--grpc", type=int, default=0, help="port of the gRPC interface; 0 for none")
    parser.add_argument("--batching", type=Path, metavar="FILE", help="as serving/batching_parameters.txt")
    parser.add_argument("--poll", type=float, default=1.0, help="seconds between two looks for new versions")
    args = parser.parse_args()
    batching = read_batching(args.batching) if args.batching else None
    pairs = (text.partition("=") for text in args.models)
    models = {name: Model(name, Path(folder), batching) for name, _, folder in pairs}
    watch(models, args.poll)
    server = start_grpc(models, args.grpc) if args.grpc else None
    if args.rest:
        serve_rest(models, args.rest)
    else:
        signal.signal(signal.SIGTERM, lambda *_: server.stop(0.1))
        server.wait_for_termination()


if __name__ == "__main__":
    main()
