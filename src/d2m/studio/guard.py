"""Access control: only this computer's browser, from the studio's own page, with the token in its address."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Sent with every response: no foreign content, no framing, no MIME sniffing, no referrer.
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        b"frame-ancestors 'none'; form-action 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


class Guard:
    """Protects an ASGI app by checks of host, origin and token.

    Another site's page can make a browser send requests to this computer, and can make its own domain resolve to this
    computer (DNS rebinding); but it cannot choose the Host and Origin that the browser sends, nor know the token.

    Args:
        token: first part of every path. hosts: values of Host that are the studio's own.
    """

    def __init__(self, app: App, token: str, hosts: frozenset[str]) -> None:
        self.app, self.token, self.hosts = app, token, hosts

    def _refused(self, scope: Scope) -> bool:
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in self.hosts or (origin is not None and origin != f"http://{host}"):
            return True
        opened = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        # Links to the page are allowed from anywhere: opening one reveals nothing to the other site.
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none") and not (
            opened and scope["method"] == "GET"
        ):
            return True
        first = scope["path"].split("/")[1:2]
        return not first or not secrets.compare_digest(first[0].encode(), self.token.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        if self._refused(scope):
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0"), *HEADERS]})
            await send({"type": "http.response.body", "body": b""})
            return

        async def sealed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
            await send(message)

        await self.app(scope, receive, sealed)
