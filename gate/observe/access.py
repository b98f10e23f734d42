"""Who may see the page and the numbers: whoever shows the token, or is on this machine, or has a certificate."""

import hashlib
import hmac
from http import HTTPStatus
from pathlib import Path
from typing import final
from urllib.parse import unquote

from gate.clock import Clock
from gate.errors import ConfigError
from gate.observe.answer import Response, words
from gate.observe.request import Request
from gate.observe.secret_file import Fresh, read_text
from gate.secret_files import secret_path

SESSION_S = 30 * 24 * 3600
"""How long a browser stays signed in: a screen on a wall is not asked every morning."""

_SHORTEST, _LONGEST = 16, 256

_PURPOSE = b"facegate session "


@final
class Access:
    """Decides about requests. Safe to use from every thread.

    Args:
        clock: Time, for sessions.
        token_file: Where the token is; None asks for none.
        asks_for_certificate: Whether the client must have shown a certificate.
        cookie: Name of the session's cookie; browsers share cookies between the ports of a host.
        secure: Whether the cookie is for HTTPS alone.

    Raises:
        ConfigError: the token cannot be read, or is no token.
    """

    def __init__(
        self,
        clock: Clock,
        token_file: Path | None = None,
        *,
        asks_for_certificate: bool = False,
        cookie: str = "facegate",
        secure: bool = False,
    ) -> None:
        self._clock = clock
        self._token = None if token_file is None else _fresh_token(secret_path(token_file))
        self._asks_for_certificate = asks_for_certificate
        self._cookie = cookie
        self._secure = secure

    def allows(self, request: Request) -> bool:
        """Whether a request shows all that is asked for."""
        if self._asks_for_certificate and not request.has_certificate:
            return False
        return self._token is None or self._shows_token(request) or self._has_session(request)

    def is_foreign(self, request: Request) -> bool:
        """Whether a page of somebody else made the browser ask, other than by a link to here."""
        site, mode = request.headers.get("sec-fetch-site", ""), request.headers.get("sec-fetch-mode", "")
        return site in {"cross-site", "same-site"} and mode != "navigate"

    def sign_in(self, request: Request) -> Response | None:
        """The answer to `/?token=…`: a session and the way back without the token; None where it has none.

        A wrong token is answered as none is.
        """
        given = _token_in(request.query)
        if self._token is None or given is None:
            return None
        if not self._is_token(given):
            return self.refusal(request, wrong=True)
        until_s = self._clock.unix_ms() // 1000 + SESSION_S
        # Lax, not Strict: a browser that came by a link from elsewhere would not send it along on the way back.
        marks = f"Max-Age={SESSION_S}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if self._secure else ''}"
        cookie = f"{self._cookie}={until_s}.{self._seal(until_s)}; {marks}"
        return Response(b"", status=HTTPStatus.SEE_OTHER, headers={"Location": "./", "Set-Cookie": cookie})

    def refusal(self, request: Request, *, wrong: bool = False) -> Response:
        """What somebody is told who may not see this; a browser is asked for the token."""
        if self._asks_for_certificate and not request.has_certificate:
            return words(HTTPStatus.FORBIDDEN, "a client certificate is needed")
        headers = {"WWW-Authenticate": 'Bearer realm="facegate"'}
        if request.path == "/" and "text/html" in request.headers.get("accept", ""):
            from gate.observe.page import sign_in_page

            page = sign_in_page(wrong=wrong)
            return Response(page.body, page.content_type, HTTPStatus.UNAUTHORIZED, {**page.headers, **headers})
        return words(HTTPStatus.UNAUTHORIZED, "a token is needed: Authorization: Bearer …", headers)

    def _shows_token(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._is_token(given.strip())

    def _is_token(self, given: str) -> bool:
        token = "" if self._token is None else self._token.get()
        return hmac.compare_digest(_digest(given), _digest(token))

    def _has_session(self, request: Request) -> bool:
        for pair in request.headers.get("cookie", "").split(";"):
            name, _, value = pair.strip().partition("=")
            until, _, seal = value.partition(".")
            if name == self._cookie and until.isdecimal() and until.isascii() and len(until) <= 12:
                genuine = hmac.compare_digest(_digest(seal), _digest(self._seal(int(until))))
                return genuine and int(until) > self._clock.unix_ms() / 1000
        return False

    def _seal(self, until_s: int) -> str:
        """Only who knows the token can make it, and it says nothing of the token; a new token ends every session."""
        token = "" if self._token is None else self._token.get()
        return hmac.new(token.encode(), _PURPOSE + str(until_s).encode(), hashlib.sha256).hexdigest()


def _digest(text: str) -> bytes:
    """Of equal length whatever is given, so that the time of a comparison tells nothing."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _token_in(query: str) -> str | None:
    for pair in query.split("&"):
        name, sign, value = pair.partition("=")
        if name == "token" and sign:
            # A plus stays one: tokens have no spaces, and a link that was written by hand may hold it as it is.
            return unquote(value)
    return None


def _fresh_token(file: Path) -> Fresh[str]:
    return Fresh((file,), lambda: read_token(file))


def read_token(file: Path) -> str:
    """The token in a file, without the line's end. Raises `ConfigError`, which never quotes it."""
    token = read_text("http.token_file", file).strip()
    plain = token.isascii() and token.isprintable() and " " not in token
    if not (plain and _SHORTEST <= len(token) <= _LONGEST):
        raise ConfigError(
            f"http.token_file {file}: a token has {_SHORTEST} to {_LONGEST} visible ASCII characters without spaces. "
            "Make one with: openssl rand -hex 32"
        )
    return token
