"""Every route: who may use it, and that the audit trail tells what it shows or does."""

import inspect
import re

import pytest

from hepacast.web.routes import ROUTERS

#: Least role, and what the trail says; empty: the route shows nothing of a patient and changes nothing.
ROUTES = {
    "POST /enter": ("", "enter"),
    "POST /leave": ("reader", "leave"),
    "GET /me": ("", ""),
    "GET /messages": ("", ""),
    "GET /messages/{language}": ("", ""),
    "GET /studies": ("reader", ""),
    "POST /demo": ("owner", "demo"),
    "GET /models": ("reader", ""),
    "GET /models/{code}": ("reader", ""),
    "POST /models/{code}/predict": ("reviewer", "predict"),
    "POST /models/{code}/find": ("reviewer", "find-in-pacs"),
    "GET /predictions/{token}": ("reader", "see-prediction"),
    "GET /predictions/{token}/{name}": ("reader", "download-prediction"),
    "DELETE /predictions/{token}": ("reviewer", "forget-prediction"),
    "POST /predictions/{token}/send": ("reviewer", "send"),
    "POST /browse": ("owner", "browse"),
    "POST /uploads": ("owner", "upload"),
    "GET /recipes": ("reader", ""),
    "POST /studies": ("owner", "new-study"),
    "GET /studies/{code}/cohort": ("reader", "see-cohort"),
    "GET /studies/{code}/judge": ("reader", "see-cohort"),
    "POST /studies/{code}/judge": ("owner", "see-cohort"),
    "PUT /studies/{code}/cohort": ("owner", "save-study"),
    "GET /studies/{code}/file": ("reader", "see-study-file"),
    "POST /studies/{code}/images": ("owner", "find-images"),
    "POST /studies/{code}/check": ("owner", "check"),
    "GET /studies/{code}/check": ("reader", "see-cohort"),
    "GET /studies/{code}/plan": ("reader", ""),
    "POST /studies/{code}/run": ("owner", "run"),
    "POST /studies/{code}/stop": ("owner", "stop"),
    "GET /studies/{code}/progress": ("reader", ""),
    "GET /studies/{code}/events": ("reader", ""),
    "GET /studies/{code}/masks": ("reader", "see-masks"),
    "GET /studies/{code}/masks/{patient}": ("reader", "see-mask"),
    "GET /studies/{code}/masks/{patient}/{what}/{first}/{count}": ("reader", "see-mask"),
    "GET /studies/{code}/masks/{patient}/file/{what}.nii.gz": ("reader", "download-"),
    "POST /studies/{code}/masks/{patient}/decision": ("reviewer", "review-"),
    "POST /studies/{code}/masks/{patient}/corrected": ("reviewer", "review-corrected"),
    "GET /studies/{code}/report": ("reader", ""),
    "GET /studies/{code}/report/{name}.html": ("reader", "read-"),
    "GET /studies/{code}/download/{what}": ("reader", "download"),
    "GET /settings": ("owner", ""),
    "GET /settings/audit": ("owner", "see-trail"),
    "GET /pacs": ("reviewer", ""),
    "GET /settings/pacs": ("owner", ""),
    "PUT /settings/pacs": ("owner", "set-pacs"),
    "POST /settings/pacs/{name}/echo": ("owner", "echo-pacs"),
    "PUT /settings/node": ("owner", "choose-node"),
    "GET /node": ("owner", "see-queue"),
    "GET /node/models": ("owner", ""),
    "POST /node/start": ("owner", "start-node"),
    "POST /node/stop": ("owner", "stop-node"),
    "POST /node/retry": ("owner", "retry-queue"),
    "POST /node/pin": ("owner", "pin-model"),
    "GET /statistics": ("reader", ""),
    "POST /statistics/tables": ("reviewer", "take-table"),
    "POST /statistics/columns": ("reader", "see-table"),
    "POST /statistics/run/{name}": ("reviewer", "analyze-"),
    "GET /statistics/files/{token}/{result}/{name}": ("reader", "see-statistics"),
    "DELETE /statistics/tables/{token}": ("reviewer", "forget-table"),
}


def endpoints():
    return {
        f"{method} {route.path}": route.endpoint
        for router in ROUTERS
        for route in router.routes
        for method in route.methods - {"HEAD"}
    }


def test_every_route_is_judged_here():
    assert endpoints().keys() == ROUTES.keys()


@pytest.mark.parametrize("role", ["reader", "reviewer"])
def test_no_role_goes_beyond_its_routes(enter, role):
    client = enter(role)
    order = ["", "reader", "reviewer", "owner"]
    for route, (least, _) in ROUTES.items():
        method, path = route.split(" ")
        if path.endswith("/events") or path == "/leave":
            continue
        filled = path.replace("{first}", "0").replace("{count}", "1").replace("{what}", "image")
        answer = client.request(method, f"/api{re.sub(r'{[a-z]+}', 'x', filled)}", json={})
        assert (answer.status_code == 403) == (order.index(least) > order.index(role)), (route, answer.text)


def test_what_shows_or_changes_something_is_told_in_the_trail():
    for route, endpoint in endpoints().items():
        action = ROUTES[route][1]
        calls = re.findall(r"audit\.add(?:_once)?\(([^)]*)\)", inspect.getsource(endpoint))
        told = [word for call in calls for word in re.findall(r'"([a-z-]+)', call)]
        assert (action in told) if action else not told, (route, told)
