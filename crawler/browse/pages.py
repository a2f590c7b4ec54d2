"""Our plugin for Datasette: the pages of plots, links to them, and a check of the host asked for."""

import asyncio
import logging
import re
import sqlite3
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from datasette import NotFound, Response, hookimpl
from datasette.utils import sqlite_timelimit
from datasette.utils.asgi import Base400
from datasette.views.base import DatasetteError
from markupsafe import Markup, escape

from crawler.browse.connection import UNSEEN
from crawler.browse.metadata import DATABASE, SETTINGS
from crawler.browse.plots import DASHBOARD, Plot, plot_swarm
from crawler.reports import NoAnswer
from dhtnode.addresses import is_loopback_host
from dhtnode.lines import say

logger = logging.getLogger(__name__)

PLOTS = "/-/plots"
REASONS = "crawler.reasons"  # under which a request holds why it is refused
STYLE = "style"  # where our style sheet is mounted
INFO_HASH = re.compile(r"[0-9a-f]{40}")
LISTED = 20  # swarms, on the page of plots

Drawn = Callable[[sqlite3.Connection], Any]


@hookimpl  # type: ignore[untyped-decorator]
def register_routes() -> list[tuple[str, Any]]:
    """Add the pages of plots."""
    return [(rf"^{PLOTS}$", dashboard), (rf"^{PLOTS}/swarm/(?P<info_hash>[0-9A-Fa-f]{{40}})$", swarm_page)]


@hookimpl  # type: ignore[untyped-decorator]
def extra_css_urls() -> list[str]:
    """Add our style to every page."""
    return [f"/{STYLE}/browse.css"]


@hookimpl  # type: ignore[untyped-decorator]
def menu_links() -> list[dict[str, str]]:
    """Add the plots and the queries to the menu of every page."""
    return [{"href": PLOTS, "label": "Plots"}, {"href": f"/{DATABASE}", "label": "Queries and tables"}]


@hookimpl  # type: ignore[untyped-decorator]
def render_cell(value: Any, column: str, table: str | None) -> Any:
    """Link an info-hash to its plot, and mark a column that is not shown."""
    if table is not None and (table, column) in UNSEEN:
        return Markup("<em>not shown</em>")
    text = value["value"] if isinstance(value, dict) else value
    if column == "sample_id" and isinstance(text, int):
        return Markup('<a href="/{}/swarm_samples/{}">{}</a>').format(DATABASE, text, text)
    if column == "info_hash" and isinstance(text, str) and INFO_HASH.fullmatch(text):
        return Markup('<a href="{}/swarm/{}">{}</a>').format(PLOTS, text, text)
    if isinstance(value, bytes):
        return Markup("{:,} bytes").format(len(value))
    return None


@hookimpl  # type: ignore[untyped-decorator]
def prepare_jinja2_environment(env: Any) -> None:
    """Add the filter `prose`: text in which backticks stand around names."""
    env.filters["prose"] = _prose


@hookimpl  # type: ignore[untyped-decorator]
def asgi_wrapper() -> Callable[[Any], Any]:
    """Answer only requests for this host, so that no other site's name can lead a browser here.

    What is refused is told in one line on stderr.
    """

    def wrap(app: Callable[[Any, Any, Any], Awaitable[None]]) -> Any:
        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            reasons: list[str] = []

            async def told(message: Any) -> None:
                if message.get("status", 200) >= 400:
                    reason = "; ".join(reasons) or HTTPStatus(message["status"]).phrase
                    say(f"dhtcrawl: {message['status']} for {scope['path']}: {reason}")
                await send(message)

            host = dict(scope.get("headers", ())).get(b"host", b"").decode("latin-1")
            if scope["type"] == "http" and not is_loopback_host(host):
                await Response.text("This server answers on loopback only.", status=403).asgi_send(told)
                return
            await app({**scope, REASONS: reasons}, receive, told)

        return guarded

    return wrap


@hookimpl  # type: ignore[untyped-decorator]
def handle_exception(datasette: Any, request: Any, exception: Exception) -> Awaitable[Response]:
    """Answer a request that failed with a page that says why."""
    page = _page_of(exception)
    request.scope[REASONS].append(str(page["error"]))
    logger.debug("failed on a request", exc_info=exception)
    return _error_page(datasette, request, page)


def _page_of(exception: Exception) -> dict[str, Any]:
    """Return what a page says of an error; of a mistake of ours, nothing but that there is one."""
    status, title, more = getattr(exception, "status", 400), None, {}
    match exception:
        case DatasetteError():
            # Its default is 500, also where the address asks for what is not there.
            status = 400 if exception.status == 500 else exception.status
            title, more = exception.title, exception.error_dict
            error = exception.message
        case NotFound():
            error = "there is no such page" if str(exception) in ("", "404") else str(exception)
        case Base400():
            error = str(exception)
        case sqlite3.Error():
            error = f"the database refuses that: {exception}"
        case ValueError():
            error = f"a value in this address is wrong: {exception}"
        case _:
            status, error = 500, f"this page failed: {type(exception).__name__}"
    return {**more, "ok": False, "title": title, "status": status, "error": error}


async def _error_page(datasette: Any, request: Any, page: dict[str, Any]) -> Response:
    if request.path.endswith(".json"):
        return Response.json(page, status=page["status"])
    text = await datasette.render_template("error.html", page, request=request)
    return Response.html(text, status=page["status"])


def _prose(text: str) -> Markup:
    pieces = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if number % 2 else escape(piece)
        for number, piece in enumerate(pieces)
    )


async def dashboard(datasette: Any, request: Any) -> Response:
    """Show the plots of the newest runs, or of one, and links to the largest swarms."""
    run = int(text) if (text := request.args.get("run", "")).isdecimal() and len(text) < 10 else None
    draws: list[Drawn] = [lambda db, draw=draw: draw(db, run) for draw in DASHBOARD.values()]  # type: ignore[misc]
    plots = await asyncio.gather(*(_within_limits(datasette, draw) for draw in draws))
    if any(isinstance(each, NoAnswer) for each in plots):
        raise NotFound(f"there is no run {run}")
    named = {name: _or_none(plot) for name, plot in zip(DASHBOARD, plots, strict=True)}
    ranking = named["swarms"]
    largest = ranking.answer.records()[:LISTED] if ranking else []
    context = {"plots": named.items(), "largest": largest, "run": run}
    return await _page(datasette, request, "plots.html", context)


async def swarm_page(datasette: Any, request: Any) -> Response:
    """Show the history of one swarm."""
    info_hash = request.url_vars["info_hash"].lower()
    plot = await _within_limits(datasette, lambda db: plot_swarm(db, info_hash))
    if isinstance(plot, NoAnswer):
        raise NotFound(str(plot))
    context = {"plot": _or_none(plot), "info_hash": info_hash}
    return await _page(datasette, request, "swarm.html", context)


def _or_none(plot: Plot | Exception) -> Plot | None:
    return None if isinstance(plot, Exception) else plot


async def _within_limits(datasette: Any, draw: Drawn) -> Any:
    """Return what is drawn from the database, or `NoAnswer`, or the error of a query that took too long."""

    def limited(connection: sqlite3.Connection) -> Any:
        try:
            with sqlite_timelimit(connection, SETTINGS["sql_time_limit_ms"]):
                return draw(connection)
        except (NoAnswer, sqlite3.OperationalError) as error:
            return error

    return await datasette.get_database(DATABASE).execute_fn(limited)


async def _page(datasette: Any, request: Any, template: str, context: dict[str, Any]) -> Response:
    context |= {"database": DATABASE, "address": PLOTS}
    return Response.html(await datasette.render_template(template, context, request=request))
