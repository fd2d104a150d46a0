"""Makes pushd known to twistd."""

from twisted.application.service import ServiceMaker

pushd = ServiceMaker("pushd", "pushd.tap", "Server push over HTTP, WebSocket and TCP lines.", "pushd")
