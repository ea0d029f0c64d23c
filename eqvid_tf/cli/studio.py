"""`eqvid studio`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import socket
import webbrowser
from pathlib import Path
from typing import Any

from eqvid_tf.cli.terminal import quietly, say
from eqvid_tf.model_folder import find_model_folder

TEXT = "Open the studio in the browser: look at a clip, train on it, drag its characters, and export what comes of it."
EXAMPLE = "eqvid studio walk.mp4; or: eqvid studio runs/walk walk.mp4"
STOPPED = 130  # the exit code of Ctrl-C
INSTALL = "the studio needs Starlette and uvicorn: python -m pip install 'eqvid_tf[studio]'"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eqvid studio`."""
    parser.add_argument(
        "given", nargs="*", type=Path, metavar="RUN | CLIP", help="model folders, and clips or pictures, to begin with"
    )
    parser.add_argument(
        "--home",
        type=Path,
        default=Path("eqvid-studio"),
        metavar="DIR",
        help="what is dropped, trained and saved is kept here (default: eqvid-studio)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address it listens on (default: this machine alone)")
    parser.add_argument("--port", type=int, default=0, help="(default: a free one)")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")


def run(args: argparse.Namespace) -> int:
    """Run `eqvid studio` until Ctrl-C; jobs that run then go on."""
    from eqvid_tf.data.output import check_output

    try:
        import uvicorn

        from eqvid_tf.studio.artist import Artist
        from eqvid_tf.studio.guard import Guard
        from eqvid_tf.studio.jobs import Jobs
        from eqvid_tf.studio.places import Places
        from eqvid_tf.studio.server import Studio, new_app
    except ModuleNotFoundError as error:
        if error.name not in ("uvicorn", "starlette"):
            raise
        raise ValueError(INSTALL) from None
    check_output(args.home, overwrite=True, inside=True)
    places = Places(args.home, [_there(path) for path in args.given])
    token, listening = secrets.token_urlsafe(24), _listen(args.host, args.port)
    artist = Artist(places, quietly)
    studio = Studio(places, Jobs(places.folder("jobs")), artist)
    app = Guard(new_app(studio), token=token, hosts=[args.host])
    address = f"http://{_written(args.host)}:{listening.getsockname()[1]}/{token}/"
    print(f"{address}\nthe studio, in {places.home}; Ctrl-C ends it, and what it has begun goes on", flush=True)
    if not args.no_browser and not webbrowser.open(address):
        say("no browser was found here; open the address above in one")
    quiet: dict[str, Any] = {"log_level": "warning", "server_header": False, "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", proxy_headers=False, **quiet))
    studio.ends = lambda: server.should_exit
    logging.getLogger("uvicorn.error").addFilter(_is_said)
    try:
        server.run([listening])
    finally:
        if not artist.close():  # Python would wait for a picture that nobody sees
            say("eqvid studio: stopped.")
            os._exit(STOPPED)
    return 0


def _is_said(record: logging.LogRecord) -> bool:
    """Whether the server's line is one to be read: not that a page was open, or waited for a picture, at the end."""
    cancelled = record.exc_info and record.exc_info[0] and issubclass(record.exc_info[0], asyncio.CancelledError)
    return not cancelled and "graceful shutdown" not in record.getMessage()


def _there(path: Path) -> Path:
    """A model folder or a clip that is there; raises a ValueError."""
    found = find_model_folder(path)
    if not found.exists():
        raise ValueError(f"{path}: there is no such file or folder. Check the path.")
    return found


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; raises an OSError with the address in it."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()  # before the address is printed: who asks at once waits, and is not refused
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{host}:{port}: cannot be listened on ({reason}). Give another --host or --port.") from None
    return listening


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host
