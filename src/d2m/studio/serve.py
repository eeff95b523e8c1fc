"""Serves the studio on a local port."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from threading import Timer

from d2m.core.errors import D2MError
from d2m.studio.app import make_app
from d2m.studio.library import Library

HOST = "127.0.0.1"


def serve(library: Library, port: int, device: str, browse: bool) -> None:
    """Serve until Ctrl-C; prints the page's address.

    Args:
        port: 0 for any free one. browse: open the page in the browser.

    Raises:
        D2MError: the port is taken.
    """
    import uvicorn

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except (OSError, OverflowError) as e:
            raise D2MError(f"port={port}: cannot listen there ({e}); choose another, or 0 for any") from e
        listener.listen()
        port = listener.getsockname()[1]
        token = secrets.token_urlsafe(24)
        app = make_app(library, token, frozenset({f"{HOST}:{port}", f"localhost:{port}"}), device)
        url = f"http://{HOST}:{port}/{token}/"
        print(f"studio: {url}\n(only this computer, only with this address; Ctrl-C ends it)", flush=True)
        if browse:
            opener = Timer(0.5, webbrowser.open, [url])
            opener.daemon = True
            opener.start()
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)  # type: ignore[arg-type]
        uvicorn.Server(config).run(sockets=[listener])
