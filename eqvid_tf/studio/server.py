"""The studio's web server: the page, what it shows, and what it asks for."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from eqvid_tf.data.output import OutputError
from eqvid_tf.motions.catalog import SHIPPED, available
from eqvid_tf.studio.artist import Artist
from eqvid_tf.studio.commands import Commands
from eqvid_tf.studio.drawn_paths import save_path
from eqvid_tf.studio.jobs import Jobs
from eqvid_tf.studio.overview import Overview, listed_motions
from eqvid_tf.studio.pictures import FramePictures, StageLayers, as_webp, opened_frames, still
from eqvid_tf.studio.places import NotHere, Places, clip_name
from eqvid_tf.studio.scene_file import Changed, SceneStore, checked_scene

PAGE = Path(__file__).parent / "static"
MOST_BODY = 8 << 20  # bytes of a document of the page
LOOK = 0.4  # seconds from one look at the jobs to the next, while a page listens
STATUS = {NotHere: 404, Changed: 409}
FIRST_PICTURE = 0.5  # seconds that a page may take to ask for the first frame of a clip
KEPT = "max-age=31536000, immutable"  # of a picture whose address changes with it
Handler = Callable[[Request], Awaitable[Response]]


class Studio:
    """What the routes share.

    Args:
        places: what the studio works with.
        jobs: the long work.
        artist: who draws.

    Attributes:
        ends: whether the server is about to end; a page that listens would hold it up.
    """

    def __init__(self, places: Places, jobs: Jobs, artist: Artist):
        self.places, self.jobs, self.artist = places, jobs, artist
        self.commands, self.scenes = Commands(places, jobs), SceneStore(places)
        self.overview = Overview(places, jobs, self.commands, self.scenes)
        self.ends: Callable[[], bool] = lambda: False
        self._wanted: dict[str, int] = {}  # by page: the number of the picture that it waits for
        self._frames = functools.lru_cache(4)(lambda path, changed: opened_frames(path))
        self._layers = functools.lru_cache(4)(lambda folder, changed, fps: StageLayers(folder, fps))

    def frames_of(self, clip: str) -> FramePictures:
        """The frames of a clip."""
        path = self.places.clip(clip)
        return self._frames(path, path.stat().st_mtime_ns)

    def layers_of(self, run: str, clip: str) -> StageLayers:
        """The layers of a clip; raises `NotHere` until they are there."""
        folder = self.commands.layers(run, clip)
        if not (folder / "characters.json").is_file():
            raise NotHere(f"{clip} was not taken apart yet.")
        return self._layers(folder, folder.stat().st_mtime_ns, self.frames_of(clip).clip.fps)

    # ---- the page

    async def page(self, request: Request) -> Response:
        """The page, and its files."""
        name = request.path_params.get("file") or "index.html"
        if name not in ("index.html", "studio.js", "studio.css"):
            raise NotHere(f"there is no page {name!r:.80}.")
        return FileResponse(PAGE / name, headers={"cache-control": "no-cache"})

    async def state(self, request: Request) -> Response:
        """Everything that is listed on the page."""
        return JSONResponse(await run_in_threadpool(self.overview.look))

    async def events(self, request: Request) -> Response:
        """`state` whenever it changes, as server-sent events."""
        return StreamingResponse(self._changes(), media_type="text/event-stream", headers={"cache-control": "no-store"})

    async def _changes(self) -> AsyncIterator[str]:
        last = ""
        while not self.ends():
            now = json.dumps(await run_in_threadpool(self.overview.look))
            yield f"data: {now}\n\n" if now != last else ": still here\n\n"
            last = now
            await asyncio.sleep(LOOK)

    # ---- clips

    async def upload(self, request: Request) -> Response:
        """Take a file that is sent, block by block, and look at it where it is a clip."""
        length = request.headers.get("content-length")
        path = await self.places.take(
            request.path_params["name"], request.stream(), int(length) if length and length.isdecimal() else None
        )
        name = self.places.name_of(path)
        is_clip = name in self.places.clips()
        if is_clip:
            await run_in_threadpool(self._inspect, name)
        return JSONResponse({"clip": name if is_clip else None, "picture": None if is_clip else name})

    async def _inspect_soon(self, clip: str) -> None:
        await asyncio.sleep(FIRST_PICTURE)
        await run_in_threadpool(self._inspect, clip)

    def _inspect(self, clip: str) -> None:
        found = self.commands.report(clip)
        if not found or found[0].state != "done":
            self.commands.inspect(clip)

    async def clip(self, request: Request) -> Response:
        """What a clip is; it is looked at, where it was not yet, once its first frame had time to be displayed."""
        name = request.path_params["clip"]
        clip = (await run_in_threadpool(self.frames_of, name)).clip
        self._soon = asyncio.create_task(self._inspect_soon(name))
        size, path = [clip.size[1], clip.size[0]], self.places.clip(name)
        return JSONResponse(
            {
                "name": name,
                "called": clip_name(path),
                "path": str(path),
                "size": size,
                "count": clip.count,
                "fps": clip.fps,
            }
        )

    async def clip_frame(self, request: Request) -> Response:
        """A frame of a clip."""
        frames = await run_in_threadpool(self.frames_of, request.path_params["clip"])
        jpeg = await run_in_threadpool(frames.jpeg, request.path_params["index"])
        return Response(jpeg, media_type="image/jpeg", headers={"cache-control": KEPT})

    async def mover(self, request: Request) -> Response:
        """The picture of a character that was found in a clip before any training."""
        found = self.commands.report(request.path_params["clip"])
        if found is None:
            raise NotHere("this clip was not looked at yet.")
        return FileResponse(self.jobs.file(found[0].id, f"report/{request.path_params['file']}"))

    async def picture(self, request: Request) -> Response:
        """A picture file as the page shows it."""
        return _picture(await run_in_threadpool(still, self.places.picture(request.path_params["name"])))

    # ---- models and layers

    async def run_picture(self, request: Request) -> Response:
        """The picture that a training draws from time to time."""
        path = self.places.run(request.path_params["run"]) / "logs" / "picture.png"
        if not path.is_file():
            raise NotHere("the training drew no picture yet.")
        return FileResponse(path, headers={"cache-control": "no-cache"})

    async def run_background(self, request: Request) -> Response:
        """The background of a clip of a model: from its layers, else as the model remembers it."""
        run, called = request.path_params["run"], request.path_params["clip"]
        with contextlib.suppress(NotHere):
            name = self.places.name_of(self.places.clip_called(called))
            layers = await run_in_threadpool(self.layers_of, run, name)
            return _picture(await run_in_threadpool(layers.background), keep=False)
        return _picture(as_webp(await self._ask(self.artist.background, run, called)), keep=False)

    async def layers(self, request: Request) -> Response:
        """What the layers of a clip are; they are made where they are not there."""
        run, clip = request.path_params["run"], request.path_params["clip"]
        with contextlib.suppress(NotHere):
            found = await run_in_threadpool(self.layers_of, run, clip)
            return JSONResponse({**found.describe(), "version": found.version})
        return JSONResponse({"job": await run_in_threadpool(self.commands.separate, run, clip)}, 202)

    async def layers_frame(self, request: Request) -> Response:
        """The characters of a frame."""
        layers = await run_in_threadpool(self.layers_of, request.path_params["run"], request.path_params["clip"])
        found = await run_in_threadpool(layers.frame, request.path_params["index"])
        return JSONResponse(found, headers={"cache-control": KEPT})

    async def layers_background(self, request: Request) -> Response:
        """The background of a clip's layers."""
        layers = await run_in_threadpool(self.layers_of, request.path_params["run"], request.path_params["clip"])
        return _picture(await run_in_threadpool(layers.background))

    # ---- jobs

    async def start(self, request: Request) -> Response:
        """Start a job."""
        asked = await _body(request)
        kinds: dict[str, Callable[..., str]] = {
            "inspect": self.commands.inspect,
            "train": self.commands.train,
            "cast": self.commands.cast,
            "correct": self.commands.correct,
            "film": self._film,
            "sheet": self.commands.sheet,
            "lottie": self.commands.lottie,
            "page": self.commands.page,
        }
        kind = str(asked.pop("kind", None))
        if kind not in kinds:
            raise OutputError(f"there is no job of the kind {kind!r:.40}.")
        try:
            return JSONResponse({"job": await run_in_threadpool(functools.partial(kinds[kind], **asked))})
        except TypeError as error:
            raise OutputError(f"{kind}: {error}") from error

    def _film(self, run: str, scene: Any, film: str, name: str) -> str:
        self.artist.ready.result()
        checked_scene(scene, self.places)
        return self.commands.film(run, scene, film, name)

    async def stop(self, request: Request) -> Response:
        """Stop a job; forget one that ended."""
        job = self.jobs.find(request.path_params["job"])
        await run_in_threadpool(self.jobs.stop if job.state == "running" else self.jobs.remove, job.id)
        return JSONResponse({})

    async def job_file(self, request: Request) -> Response:
        """A file that a job wrote."""
        path = self.jobs.file(request.path_params["job"], request.path_params["file"])
        name = path.name if "download" in request.query_params else None
        return FileResponse(path, filename=name, headers={"content-security-policy": "sandbox"})

    async def job_log(self, request: Request) -> Response:
        """What a job said."""
        job = self.jobs.find(request.path_params["job"])
        return FileResponse(self.jobs.folder / job.id / "log.txt", media_type="text/plain")

    # ---- scenes and motions

    async def read_scene(self, request: Request) -> Response:
        """A scene as it was saved."""
        scene, revision = await run_in_threadpool(self.scenes.read, request.path_params["name"])
        return JSONResponse({"scene": scene, "revision": revision})

    async def write_scene(self, request: Request) -> Response:
        """Save a scene."""
        asked = await _body(request)
        await asyncio.wrap_future(self.artist.ready)
        values = request.path_params["name"], asked.get("scene"), asked.get("revision")
        return JSONResponse({"revision": await run_in_threadpool(self.scenes.write, *values)})

    async def draw(self, request: Request) -> Response:
        """A picture of a scene as it is rendered, PNG; of several that one page asks for, those before are left out."""
        asked = await _body(request)
        await asyncio.wrap_future(self.artist.ready)
        scene = checked_scene(asked.get("scene"), self.places)
        page, number = str(asked.get("page", "")), int(asked.get("number", 0))
        self._wanted[page] = number
        wanted = lambda: not page or self._wanted[page] == number
        picture = await self._ask(self.artist.draw, str(asked.get("run")), scene, int(asked.get("index", 0)), wanted)
        if picture is None:
            return Response(status_code=204)
        return Response(await run_in_threadpool(_as_png, picture), media_type="image/png")

    async def warm(self, request: Request) -> Response:
        """Make ready what the next picture needs."""
        asked = await _body(request)
        where = str(asked.get("run")), str(asked.get("clip")), int(asked.get("index", 0))
        await self._ask(self.artist.warm, *where, bool(asked.get("moved")))
        return JSONResponse({})

    async def perform(self, request: Request) -> Response:
        """What a character of a scene that plays a template does."""
        asked = await _body(request)
        await asyncio.wrap_future(self.artist.ready)
        scene = checked_scene(asked.get("scene"), self.places)
        return JSONResponse(await self._ask(self.artist.perform, str(asked.get("run")), scene, str(asked.get("id"))))

    async def motions(self, request: Request) -> Response:
        """The catalog, with the poses of each motion; or save a drawn path, or a motion taken from two frames."""
        folders = [self.places.folder("motions")]
        if request.method == "POST":
            asked = await _body(request)
            name = str(asked.get("name"))
            if name in available(folders):
                raise OutputError(f"there is a motion {name} already. Give this one another name.")
            if "points" in asked:
                await run_in_threadpool(save_path, folders[0], name, asked["points"], asked.get("size"))
            else:
                values = (str(asked.get("run")), str(asked.get("clip")), int(asked["character"]))
                await self._ask(self.artist.transfer, *values, tuple(map(int, asked["frames"])), name)
        return JSONResponse(await run_in_threadpool(listed_motions, [*folders, SHIPPED]))

    async def _ask(self, work: Callable[..., Any], *values: Any) -> Any:
        """What the artist makes of it; where the page does not wait any longer, it is not begun."""
        future = self.artist.begin(work, *values)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.cancel()
            raise


def new_app(studio: Studio) -> Starlette:
    """The application; `Guard` stands before it."""
    get, post = ["GET"], ["POST"]
    routes = [
        Route("/", studio.page),
        Route("/state", studio.state),
        Route("/events", studio.events),
        Route("/uploads/{name}", studio.upload, methods=["PUT"]),
        Route("/clips/{clip}", studio.clip),
        Route("/clips/{clip}/frames/{index:int}", studio.clip_frame),
        Route("/clips/{clip}/movers/{file}", studio.mover),
        Route("/pictures/{name}", studio.picture),
        Route("/runs/{run}/picture", studio.run_picture),
        Route("/runs/{run}/backgrounds/{clip}", studio.run_background),
        Route("/runs/{run}/layers/{clip}", studio.layers),
        Route("/runs/{run}/layers/{clip}/frames/{index:int}", studio.layers_frame),
        Route("/runs/{run}/layers/{clip}/background", studio.layers_background),
        Route("/jobs", studio.start, methods=post),
        Route("/jobs/{job}", studio.stop, methods=["DELETE"]),
        Route("/jobs/{job}/log", studio.job_log),
        Route("/jobs/{job}/{file:path}", studio.job_file),
        Route("/scenes/{name}", studio.read_scene, methods=get),
        Route("/scenes/{name}", studio.write_scene, methods=["PUT"]),
        Route("/draw", studio.draw, methods=post),
        Route("/warm", studio.warm, methods=post),
        Route("/perform", studio.perform, methods=post),
        Route("/motions", studio.motions, methods=["GET", "POST"]),
        Route("/{file}", studio.page),
    ]
    handlers: Any = {kind: _refused for kind in (ValueError, OSError, LookupError, RuntimeError, HTTPException)}
    return Starlette(routes=routes, exception_handlers=handlers)


async def _refused(request: Request, error: Exception) -> Response:
    """An error as the one line that the command line says."""
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code)
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    if full:
        return JSONResponse({"error": "the disk is full. Make room; what was saved before is still there."}, 507)
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 400)
    return JSONResponse({"error": " ".join(str(error).split()) or type(error).__name__}, status)


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object that the page sent."""
    text = b""
    async for block in request.stream():
        text += block
        if len(text) > MOST_BODY:
            raise OutputError(f"what the page sent is larger than {MOST_BODY >> 20} MiB.")
    found = json.loads(text)
    if not isinstance(found, dict):
        raise OutputError("what the page sent is no JSON object.")
    return found


def _picture(webp: bytes, keep: bool = True) -> Response:
    return Response(webp, media_type="image/webp", headers={"cache-control": KEPT if keep else "no-cache"})


def _as_png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return file.getvalue()
