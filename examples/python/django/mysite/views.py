"""The page."""

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.shortcuts import get_object_or_404, redirect, render
from pushd_client.django import publish_on_commit


@login_required(login_url="/admin/login/")
def inbox(request):
    """Show the notifications of the user, or send one to another user."""
    if request.method == "POST":
        to = get_object_or_404(User, username=request.POST["to"])
        publish_on_commit(f"users/{to.pk}/inbox", {"from": request.user.username, "text": request.POST["text"]})
        return redirect("/")
    return render(request, "inbox.html")
