"""Who may ask the studio for anything: who knows its token, by its own name, from its own page."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Collection
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL = ("localhost", "127.0.0.1", "[::1]")
POLICY = (  # the page loads nothing from anywhere else, and no other page may hold it in a frame
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",  # the address has the token in it
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """Let through what comes with the token, under a name of this machine, and from no other page.

    Why each: another program of this machine does not know the token; a page elsewhere whose name is made to mean this
    machine (DNS rebinding) sends another Host; a page that sends a request here across origins sends its own Origin.

    Args:
        app: what is guarded; its routes are below /TOKEN/.
        token: of the address.
        hosts: names that this server is asked by, beside the local ones; an address in numbers is always one.
    """

    def __init__(self, app: ASGIApp, *, token: str, hosts: Collection[str] = ()):
        self.app, self.token, self.hosts = app, token, {*LOCAL, *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is not let through, or hand it on with the token taken off its path."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        first, _, rest = scope["path"].removeprefix("/").partition("/")
        if (why := self._why_not(Headers(scope=scope), first)) is not None:
            await PlainTextResponse(why, HTTPStatus.FORBIDDEN, headers=HEADERS)(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            await send(message)

        await self.app({**scope, "path": f"/{rest}", "raw_path": None, "root_path": ""}, receive, send_with_headers)

    def _why_not(self, headers: Headers, token: str) -> str | None:
        """Why a request is not let through, in one line; None where it is."""
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if not self._is_own(host):
            return f"the studio does not go by the name {host!r}. Use the address that eqvid studio printed."
        if origin is not None and origin.lower().partition("://")[2] != host:
            return f"a page of {origin} may not talk to the studio."
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            return "the address lacks the studio's token. Use the address that eqvid studio printed."
        return None

    def _is_own(self, host: str) -> bool:
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        return name in self.hosts or _is_address(name.strip("[]"))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
