"""A FastAPI application with a login, whose page shows the private notifications of its user as they arrive."""

import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from typing import Annotated

import httpx
from fastapi import Cookie, Depends, FastAPI, Form, HTTPException, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from joserfc import jwt
from joserfc.jwk import OctKey

HERE = Path(__file__).parent
PRIVATE = HERE / "private"
DAEMON = os.environ.get("DAEMON_URL", "http://127.0.0.1:8080")
KEY = OctKey.import_key((PRIVATE / "app.secret").read_bytes().rstrip(b"\r\n"))
"""The secret that pushd.toml names, too: the application signs the tokens of its users with it."""
SERVER_TOKEN = (PRIVATE / "app.token").read_text(encoding="utf-8").strip()
"""The static token with which the application publishes."""
TOKEN_SECONDS = int(os.environ.get("TOKEN_SECONDS", "3600"))
COOKIE = "__Host-pushd"
SESSION = "__Host-session"
PASSWORDS = {"alice": "wonderland", "bob": "builder"}
"""Replace these, and SESSIONS, by those of your application."""
SESSIONS: dict[str, str] = {}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client for all requests to pushd."""
    headers = {"Authorization": f"Bearer {SERVER_TOKEN}"}
    async with httpx.AsyncClient(base_url=DAEMON, headers=headers, trust_env=False) as client:
        app.state.pushd = client
        yield


app = FastAPI(lifespan=lifespan)


def current_user(session: Annotated[str, Cookie(alias=SESSION)] = "") -> str:
    """Return the user who is logged in."""
    if session not in SESSIONS:
        raise HTTPException(303, headers={"Location": "/login"})
    return SESSIONS[session]


User = Annotated[str, Depends(current_user)]


def pushd_token(user: str) -> str:
    """Return a token with which its holder can subscribe to the channels of one user, and to nothing else."""
    now = int(time.time())
    claims = {
        "iss": "https://notifications.example",
        "aud": "pushd",
        "sub": user,
        "iat": now,
        "exp": now + TOKEN_SECONDS,
        "pushd": {"subscribe": ["users/{sub}/**"]},
    }
    return jwt.encode({"alg": "HS256"}, claims, KEY)


def set_cookie(response: Response, name: str, value: str, seconds: int | None = None) -> None:
    """Set a cookie that only this origin receives, only over TLS, and that no script can read."""
    response.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")


@app.get("/login")
def login_form() -> HTMLResponse:
    """Show the form."""
    return HTMLResponse((HERE / "login.html").read_text(encoding="utf-8"))


@app.post("/login")
def login(user: Annotated[str, Form()], password: Annotated[str, Form()]) -> Response:
    """Begin a session."""
    expected = PASSWORDS.get(user)
    if expected is None or not secrets.compare_digest(password.encode(), expected.encode()):
        raise HTTPException(403, "wrong user or password")
    session = secrets.token_urlsafe(32)
    SESSIONS[session] = user
    response = RedirectResponse("/", 303)
    set_cookie(response, SESSION, session)
    return response


@app.post("/logout")
def logout(session: Annotated[str, Cookie(alias=SESSION)] = "") -> Response:
    """End the session. Tokens that were issued stay valid until they expire."""
    SESSIONS.pop(session, None)
    response = RedirectResponse("/login", 303)
    for name in (SESSION, COOKIE):
        response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")
    return response


@app.get("/")
def notifications(user: User) -> HTMLResponse:
    """Show the notifications. EventSource sends the cookie; the script sends the token on the WebSocket."""
    token = pushd_token(user)
    page = (HERE / "page.html").read_text(encoding="utf-8")
    page = page.replace("{{user}}", escape(user)).replace("{{token}}", escape(token))
    response = HTMLResponse(page, headers={"Cache-Control": "no-store"})
    set_cookie(response, COOKIE, token, TOKEN_SECONDS)
    return response


@app.post("/token")
def token(user: User) -> Response:
    """Return a new token, and set it as the cookie: the page requests it when the old one is about to expire."""
    token = pushd_token(user)
    response = JSONResponse({"token": token}, headers={"Cache-Control": "no-store"})
    set_cookie(response, COOKIE, token, TOKEN_SECONDS)
    return response


@app.post("/notify")
async def notify(user: User, to: Annotated[str, Form()], text: Annotated[str, Form()]) -> Response:
    """Send a notification to a user."""
    if to not in PASSWORDS:
        raise HTTPException(404, "no such user")
    published = await app.state.pushd.post(f"/pub/users/{to}/notifications", json={"from": user, "text": text})
    published.raise_for_status()
    return Response(status_code=204)
