"""A FastAPI application with a login, whose page shows the notifications of its user as they arrive."""

import secrets
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Form, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from pushd_client.fastapi import AsyncPushd, FastapiPushd
from starlette.middleware.sessions import SessionMiddleware

push = FastapiPushd("http://127.0.0.1:8080", Path("app.token"), url_key=("web", Path("web.key")))
app = FastAPI(lifespan=push.lifespan)
app.add_middleware(SessionMiddleware, secret_key=secrets.token_hex(32))
PASSWORDS = {"alice": "wonderland", "bob": "builder"}
PAGE = Path("inbox.html").read_text(encoding="utf-8")


def current_user(request: Request) -> str:
    """Return the user who is logged in."""
    if "user" not in request.session:
        raise HTTPException(303, headers={"Location": "/login"})
    return str(request.session["user"])


User = Annotated[str, Depends(current_user)]


@app.get("/login")
def login_form() -> FileResponse:
    """Show the form."""
    return FileResponse("login.html")


@app.post("/login")
def login(request: Request, user: Annotated[str, Form()], password: Annotated[str, Form()]) -> RedirectResponse:
    """Begin a session."""
    if not secrets.compare_digest(PASSWORDS.get(user, "").encode(), password.encode()):
        raise HTTPException(403)
    request.session["user"] = user
    return RedirectResponse("/", 303)


@app.get("/")
async def inbox(user: User) -> HTMLResponse:
    """Show the notifications."""
    source = await push.source_url("users/{sub}/inbox", sub=user, since="last:20")
    return HTMLResponse(PAGE.replace("{{ source }}", source))


@app.post("/")
async def send(
    user: User,
    to: Annotated[str, Form()],
    text: Annotated[str, Form()],
    pushd: Annotated[AsyncPushd, Depends(push)],
) -> RedirectResponse:
    """Send a notification to a user."""
    if to not in PASSWORDS:
        raise HTTPException(404)
    await pushd.publish(f"users/{to}/inbox", {"from": user, "text": text})
    return RedirectResponse("/", 303)
