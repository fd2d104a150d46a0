"""A Flask application with a login, whose page shows the notifications of its user as they arrive."""

import secrets
from pathlib import Path

from flask import Flask, abort, redirect, render_template, request, session
from pushd_client import Pushd, SourceUrls

app = Flask(__name__)
app.secret_key = secrets.token_bytes(32)
PASSWORDS = {"alice": "wonderland", "bob": "builder"}
PUSHD = Pushd("http://127.0.0.1:8080", Path("app.token").read_text().strip(), timeout=3, retry_seconds=3)
SOURCES = SourceUrls("http://127.0.0.1:8080", ("web", Path("web.key")))


@app.route("/login", methods=["GET", "POST"])
def login():
    """Show the form, or begin a session."""
    if request.method == "GET":
        return render_template("login.html")
    user, password = request.form["user"], request.form["password"]
    if not secrets.compare_digest(PASSWORDS.get(user, "").encode(), password.encode()) or not password:
        abort(403)
    session["user"] = user
    return redirect("/")


@app.get("/")
def inbox():
    """Show the notifications."""
    if "user" not in session:
        return redirect("/login")
    source = SOURCES.url("users/{sub}/inbox", sub=session["user"], since="last:20")
    return render_template("inbox.html", source=source)


@app.post("/")
def send():
    """Send a notification to a user."""
    if "user" not in session or request.form["to"] not in PASSWORDS:
        abort(403)
    PUSHD.publish(f"users/{request.form['to']}/inbox", {"from": session["user"], "text": request.form["text"]})
    return redirect("/")
