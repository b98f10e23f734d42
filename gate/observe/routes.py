"""The gate's own routes: metrics, liveness, readiness, status, page and what the page asks for."""

import gzip
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from gate.observe.access import Access
from gate.observe.answer import Response, words
from gate.observe.health import Answer
from gate.observe.http import Handler
from gate.observe.images import Images
from gate.observe.observer import Observer
from gate.observe.page import load_page
from gate.observe.request import Request

_MOST_CAMERAS = 64
"""Cameras whose crops are listed in one answer."""


def build_routes(observer: Observer, access: Access) -> dict[str, Handler]:
    """Path → handler.

    All but the page's sign-in are for those whom `access` allows; `/livez` and `/readyz` answer others too, without the
    reasons: an orchestrator's probes have no token.
    """
    page = load_page()

    def root(request: Request) -> Response:
        signed_in = access.sign_in(request)
        if signed_in is not None:
            return signed_in
        return page if access.allows(request) else access.refusal(request)

    guarded = {path: _guarded(handler, access) for path, handler in _inside(observer).items()}
    return {
        "/": root,
        "/livez": lambda request: _health(observer.health.alive(), details=access.allows(request)),
        "/readyz": lambda request: _health(observer.health.ready(), details=access.allows(request)),
        **guarded,
    }


def _inside(observer: Observer) -> dict[str, Handler]:
    def scrape(request: Request) -> Response:
        body, content_type = observer.metrics.render(request.headers.get("accept", ""))
        if not _takes_gzip(request):
            return Response(body, content_type, headers={"Vary": "Accept-Encoding"})
        packed = gzip.compress(body, compresslevel=1)
        return Response(packed, content_type, headers={"Vary": "Accept-Encoding", "Content-Encoding": "gzip"})

    def events(request: Request) -> Response:
        # A browser that comes back by itself says it in the header, a page that does in the query.
        last = request.headers.get("last-event-id") or next(iter(_asked(request, "after")), "")
        after = _number(last) or 0
        return Response(b"", "text/event-stream", parts=lambda: observer.feed.follow(after))

    routes: dict[str, Handler] = {
        "/metrics": scrape,
        "/status": lambda _request: _json(observer.status()),
        "/hour": lambda _request: _json(observer.hour.snapshot()),
        "/events": events,
    }
    return routes if observer.images is None else {**routes, **_pictures(observer.images)}


def _pictures(images: Images) -> dict[str, Handler]:
    def crops(request: Request) -> Response:
        return _json(images.latest(_asked(request, "camera")[:_MOST_CAMERAS]))

    def crop(request: Request) -> Response:
        number = _number(next(iter(_asked(request, "id")), ""))
        jpeg = None if number is None else images.crop(number)
        return words(HTTPStatus.NOT_FOUND, "this crop is gone") if jpeg is None else Response(jpeg, "image/jpeg")

    def preview(request: Request) -> Response:
        body = images.preview(next(iter(_asked(request, "camera")), ""))
        if body is None:
            return words(HTTPStatus.NOT_FOUND, "no picture came from this camera")
        return Response(body, "application/json")

    return {"/crops": crops, "/crop": crop, "/preview": preview}


def _guarded(handler: Handler, access: Access) -> Handler:
    def answer(request: Request) -> Response:
        if access.is_foreign(request):
            return words(HTTPStatus.FORBIDDEN, "not for other sites")
        return handler(request) if access.allows(request) else access.refusal(request)

    return answer


def _takes_gzip(request: Request) -> bool:
    offers = request.headers.get("accept-encoding", "").replace(" ", "").lower().split(",")
    # Who gives it a weight may mean 0; plain text suits everybody.
    return "gzip" in offers


def _asked(request: Request, name: str) -> list[str]:
    """The values of a key of the query."""
    try:
        return parse_qs(request.query, max_num_fields=256).get(name, [])
    except ValueError:
        return []


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def _json(value: Mapping[str, Any]) -> Response:
    return Response(json.dumps(value, allow_nan=False).encode(), "application/json")


def _health(answer: Answer, *, details: bool) -> Response:
    ok, reasons = answer
    text = "\n".join(("ok" if ok else "not ok", *(reasons if details else ()), ""))
    return Response(text.encode(), status=HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE)
