"""The playground and the page of routes: static, and all that they load comes from this server."""

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, RedirectResponse, Response

from jaxembed.server.requests import route

FOLDER = Path(__file__).parent.parent / "playground"
_TYPES = {"style.css": "text/css", "app.js": "text/javascript", "docs.js": "text/javascript"}
# All that is served here, and shown without a key: the page asks for it.
PATHS = ("/", "/playground", *(f"/playground/{name}" for name in _TYPES))

# Nothing from anywhere else, and nothing inline: what a text holds can never become code.
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:"
_HEADERS = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff", "cache-control": "no-cache"}


def add_routes(app: FastAPI, *, docs: bool) -> None:
    """Adds the pages, their files, and the way to the playground from `/`.

    Args:
        app: the application.
        docs: whether the routes are shown. FastAPI's own pages for that load their scripts from elsewhere.
    """

    # `POST /` is TEI's.
    @route(app, "/", face="tei", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse("playground")

    @route(app, "/playground", face="openai", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(FOLDER / "index.html", media_type="text/html", headers=_HEADERS)

    if docs:

        @route(app, "/docs", face="openai", include_in_schema=False)
        @route(app, "/redoc", face="openai", include_in_schema=False)
        async def routes() -> Response:
            return FileResponse(FOLDER / "docs.html", media_type="text/html", headers=_HEADERS)

    @route(app, "/playground/{name}", face="openai", include_in_schema=False)
    async def file(name: str) -> Response:
        if name not in _TYPES:
            return Response(status_code=404)
        return FileResponse(FOLDER / name, media_type=_TYPES[name], headers=_HEADERS)
