"""The web application: pages and REST calls over one service."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import plotly
from apiflask import APIFlask
from flask import Response, send_file
from flask_bootstrap import Bootstrap5
from werkzeug.middleware.proxy_fix import ProxyFix

from storage.sessions import LASTS
from topo_search.settings import VERSION
from topo_search.web import document, problems, security
from topo_search.web.access import csrf, limiter
from topo_search.web.dashboard import dashboard
from topo_search.web.health import health
from topo_search.web.operators import operators
from topo_search.web.pages import pages
from topo_search.web.service import Service
from topo_search.web.v1 import v1
from topo_search.web.v1_operators import v1_operators
from topo_search.web.v1_tables import v1_tables

ASSETS = Path(__file__).parent / "assets"
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
MULTIPART = 64 * 1024  # Bytes that the parts of a form take besides its file.


def create_app(
    service: Service,
    *,
    secure: bool = True,
    proxied: bool = False,
    password_hash: str | None = None,
    hosts: Sequence[str] = (),
) -> APIFlask:
    """Return the application.

    Args:
        service: What it serves.
        secure: Whether browsers reach it over TLS: its cookies then need it.
        proxied: Whether one proxy before it says who asks (X-Forwarded-For, -Proto, -Host).
        password_hash: Argon2's, of the operator's password; without one nobody can log in.
        hosts: Names and addresses by which it may be called; none: any.
    """
    app = APIFlask(
        "topo_search.web",
        title="topo-search",
        version=VERSION,
        spec_path="/v1/openapi.json",
        docs_path=None,
        static_url_path="/assets",  # `/static` is optuna-dashboard's.
        static_folder="assets",
    )
    app.config.update(
        SECRET_KEY=hashlib.sha256(f"session {service.signing_key}".encode()).hexdigest(),
        # Whoever changes the password ends all sessions.
        OPERATOR_MARK=hashlib.sha256((password_hash or os.urandom(16).hex()).encode()).hexdigest(),
        OPERATOR_PASSWORD=password_hash,
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_NAME="topo-search",
        PERMANENT_SESSION_LIFETIME=LASTS,
        SESSION_REFRESH_EACH_REQUEST=False,  # It ends then, however often it is used.
        MAX_CONTENT_LENGTH=service.limits.upload + MULTIPART,
        MAX_FORM_MEMORY_SIZE=2**20,
        MAX_FORM_PARTS=1_000,
        SEND_FILE_MAX_AGE_DEFAULT=security.ASSETS_KEPT,
        BOOTSTRAP_SERVE_LOCAL=True,
        WTF_CSRF_CHECK_DEFAULT=False,  # Where a session counts, it is checked: see access.py.
        WTF_CSRF_SSL_STRICT=False,  # There is no referrer: see security.py.
        WTF_CSRF_TIME_LIMIT=None,
        RATELIMIT_HEADERS_ENABLED=False,
        SERVERS=[{"url": "/"}],  # Else it is the host that whoever asks first calls us by, for all.
    )
    # The order of charts and columns is that in which they are to be read.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": False}
    app.extensions["topo-search"] = service
    app.security_schemes = {"key": {"type": "http", "scheme": "bearer"}}
    if proxied:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    Bootstrap5(app)
    csrf.init_app(app)
    limiter.init_app(app)
    problems.register(app, service)
    security.register(app, hosts)
    for blueprint in (health, pages, operators, dashboard, v1_tables, v1, v1_operators):
        app.register_blueprint(blueprint)
    app.spec_processor(document.complete)
    app.jinja_env.globals.update(mark=assets_mark(ASSETS))
    _own_assets(app)
    return app


def assets_mark(folder: Path) -> str:
    """Return what differs wherever something does that pages load: browsers keep it for long.

    Args:
        folder: Of scripts and styles.
    """
    digest = hashlib.sha256(f"{plotly.__version__} {_report_style()}".encode())
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _report_style() -> str:
    return (resources.files("topo_search") / "templates" / "report.css").read_text("utf-8")


def _own_assets(app: APIFlask) -> None:
    """Serve plotly.js as it is installed, and the style of reports."""
    style = _report_style()

    @app.get("/assets/plotly.js")
    @app.doc(hide=True)
    def plotly_js() -> Response:
        return send_file(PLOTLY, mimetype="text/javascript", conditional=True)

    @app.get("/favicon.ico")
    @app.doc(hide=True)
    def favicon() -> Response:  # Browsers ask for it where a page names none, as the dashboard.
        return app.send_static_file("icon.svg")

    @app.get("/assets/report.css")
    @app.doc(hide=True)
    def report_css() -> Response:
        return Response(style, mimetype="text/css")
