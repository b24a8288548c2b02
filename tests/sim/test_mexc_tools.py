"""`claire symbols`, `claire data download` and `claire doctor --venue mexc` against the simulator, as a user calls them."""

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from claire.adapters.config.schema import MexcSettings
from claire.adapters.marketdata import open_source
from claire.adapters.venues.mexc.download import Wanted, download, is_whole
from claire.adapters.venues.mexc.history import BinanceArchive, MexcHistory
from claire.adapters.venues.mexc.opening import open_rest
from claire.adapters.venues.mexc.symbols import Offer, choose, read_selection
from claire.adapters.venues.mexc.symbols import Wanted as Rules
from claire.cli.main import main
from claire.mexcsim import FlowSettings, SimConfig, Simulator, faults
from claire.model.errors import ClaireError, DataError
from claire.model.market import Trade
from tests.support.rest_server import Line, serving

pytestmark = pytest.mark.asyncio

ACCESS, SECRET = "mx0-access", "planted-secret-of-the-simulator"  # pragma: allowlist secret
DAYS = (date(2024, 10, 27), date(2024, 10, 28))
YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
Cli = Callable[..., Any]


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name, text in (("mexc_access_key", ACCESS), ("mexc_secret_key", SECRET)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    return folder


@asynccontextmanager
async def simulator(**account: Any) -> AsyncIterator[Simulator]:
    async with Simulator(SimConfig(flow=FlowSettings(events_per_s=0))) as sim:
        sim.add_account(ACCESS, SECRET, balances={"USDT": 1000}, **account)
        yield sim


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Run `claire` beside the simulator's loop; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    async def run(sim: Simulator | None, *arguments: str) -> tuple[int, str, str]:
        if sim is not None:
            monkeypatch.setenv("CLAIRE_MEXC__REST_URL", sim.rest_url)
        capfd.readouterr()
        code = await asyncio.to_thread(main, list(arguments))
        out, err = capfd.readouterr()
        assert SECRET not in out + err
        return code, out, err

    return run


# -- symbols ----------------------------------------------------------------------------------------------------------


async def test_symbols_lists_what_the_api_trades_and_says_why_the_others_are_closed(cli: Cli) -> None:
    async with simulator() as sim:
        code, out, _ = await cli(sim, "symbols", "--quote", "")
        assert code == 0
        assert "BTCUSDT" in out
        assert "PAUSEDUSDT" not in out
        assert "closed to the API" in out
        code, out, _ = await cli(sim, "symbols", "--all", "--json")
        offers = {offer["symbol"]: offer for offer in json.loads(out)["offers"]}
        assert "isSpotTradingAllowed = false" in offers["NOAPIUSDT"]["closed"]
        btc = offers["BTCUSDT"]
        assert btc["closed"] == ""
        assert Decimal(btc["spread_bps"]) > 0
        assert Decimal(btc["taker_pct"]) == Decimal("0.05")
        assert (btc["rules"]["tick"], btc["rules"]["source"]) == ("0.01", "venue")


async def test_a_choice_by_rule_is_a_dated_file_that_reads_back_and_is_never_changed(cli: Cli, tmp_path: Path) -> None:
    async with simulator() as sim:
        wanted = ("symbols", "--max-spread", "1bps", "--min-volume", "1000", "--top", "3", "--out", "choice.json")
        code, out, _ = await cli(sim, *wanted)
        assert code == 0
        assert "wrote choice.json" in out
        selection = read_selection(tmp_path / "choice.json")
        assert len(selection.symbols) == 3
        assert all(offer.spread_bps is not None and offer.spread_bps <= 1 for offer in selection.offers)
        volumes = [offer.volume or Decimal(0) for offer in selection.offers]
        assert volumes == sorted(volumes, reverse=True)
        assert abs(selection.ts_ms - sim.venue.clock()) < 60_000
        before = (tmp_path / "choice.json").read_bytes()
        code, _, err = await cli(sim, *wanted)
        assert code == 2
        assert "a choice is never changed" in err
        assert (tmp_path / "choice.json").read_bytes() == before
        code, _, err = await cli(sim, "symbols", "--min-volume", "9e30", "--out", "none.json")
        assert code == 1
        assert "no symbol fits" in err
        assert not (tmp_path / "none.json").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--venue", "mexd"), "Did you mean mexc?"),
        (("--max-spread", "wide"), "as 5bps"),
        (("--max-spread", "NaN"), "as 5bps"),
        (("--min-volume", "-1"), "0 or more"),
        (("--top", "-1"), "above 0"),
    ],
)
async def test_rules_of_a_choice_that_are_none_are_refused(cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    code, _, err = await cli(None, "symbols", *arguments)
    assert code == 2
    assert says in err


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format":"claire-symbols-9","venue":"mexc","ts_ms":1}'])
async def test_a_file_that_is_no_choice_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "choice.json"
    file.write_text(content)
    with pytest.raises(DataError, match="claire symbols --venue mexc"):
        read_selection(file)
    with pytest.raises(DataError, match="no such file"):
        read_selection(tmp_path / "other.json")


def offer(symbol: str, volume: int | None, spread: str | None = "1", closed: str = "") -> Offer:
    spread_bps = None if spread is None else Decimal(spread)
    quantity = None if volume is None else Decimal(volume)
    return Offer(symbol, "X", "USDT", closed, spread_bps, 1, quantity, Decimal(1), None, None, (), None)


async def test_what_is_not_known_does_not_fit_and_equal_volumes_go_by_name() -> None:
    offers = [
        offer("C", 5),
        offer("B", 5),
        offer("A", 9, "3"),
        offer("N", None),
        offer("E", 7, None),
        offer("X", 8, closed="x"),
    ]
    assert [o.symbol for o in choose(offers, Rules())] == ["A", "E", "B", "C", "N"]
    assert [o.symbol for o in choose(offers, Rules(max_spread_bps=Decimal(2), min_volume=Decimal(5)))] == ["B", "C"]
    assert [o.symbol for o in choose(offers, Rules(include_closed=True, top=2))] == ["A", "X"]


# -- doctor -----------------------------------------------------------------------------------------------------------


async def look(cli: Cli, sim: Simulator | None, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = await cli(sim, "doctor", "--venue", "mexc", "--json", *arguments)
    return code, {check["name"]: check for check in json.loads(out)["checks"]}


async def test_doctor_tells_reach_clock_key_symbols_and_budget(
    cli: Cli, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRETS_PATH", str(secrets))
    monkeypatch.setenv("MEXC_SYMBOL", "BTCUSDT")
    async with simulator() as sim:
        code, checks = await look(cli, sim)
        assert code == 0
        assert {"mexc", "mexc clock", "mexc key", "mexc symbols", "mexc budget"} <= set(checks)
        assert all(check["ok"] for check in checks.values())
        assert "withdraw no" in checks["mexc key"]["found"]
        assert "90 days" in checks["mexc key"]["found"]
        assert "BTCUSDT is open" in checks["mexc symbols"]["found"]
        monkeypatch.setenv("MEXC_SYMBOL", "PAUSEDUSDT")
        sim.fault(faults.ClockSkew(ms=2000))
        code, checks = await look(cli, sim)
        assert code == 1
        assert not checks["mexc symbols"]["ok"]
        assert "claire symbols" in checks["mexc symbols"]["remedy"]
        assert not checks["mexc clock"]["ok"]
        assert "timedatectl" in checks["mexc clock"]["remedy"]


async def test_doctor_says_what_is_wrong_with_a_key(cli: Cli, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRETS_PATH", str(secrets))
    async with simulator() as sim:
        sim.fault(faults.RevokeKey(key=ACCESS))
        code, checks = await look(cli, sim)
        assert code == 1
        assert "revoked" in checks["mexc key"]["remedy"]
        (secrets / "mexc_secret_key").chmod(0o644)
        code, checks = await look(cli, sim)
        assert code == 1
        assert "chmod 600" in checks["mexc secrets"]["found"]
        monkeypatch.delenv("SECRETS_PATH")
        code, checks = await look(cli, sim)
        assert code == 0
        assert "only public data" in checks["mexc key"]["found"]


async def test_doctor_warns_of_a_key_that_may_withdraw(
    cli: Cli, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRETS_PATH", str(secrets))
    account = {"canTrade": True, "canWithdraw": True, "canDeposit": True, "balances": []}
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    answers = {
        "/api/v3/ping": {},
        "/api/v3/time": lambda _: web.json_response({"serverTime": now_ms}),
        "/api/v3/account": account,
    }
    async with serving(answers) as server:
        monkeypatch.setenv("CLAIRE_MEXC__REST_URL", server.url)
        code, checks = await look(cli, None)
    assert code == 1
    assert not checks["mexc key"]["ok"]
    assert "withdrawals first" in checks["mexc key"]["remedy"].replace("\n", " ")


async def test_doctor_finds_a_venue_that_does_not_answer(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("CLAIRE_MEXC__REST_URL", f"http://127.0.0.1:{unused_tcp_port}")
    code, checks = await look(cli, None)
    assert code == 1
    assert "cannot be reached" in checks["mexc"]["found"]
    assert "mexc.rest_url" in checks["mexc"]["remedy"]


# -- download ---------------------------------------------------------------------------------------------------------


def span(first: date, last: date) -> tuple[str, ...]:
    return ("--symbol", "BTCUSDT", "--from", str(first), "--to", str(last))


async def test_candles_of_mexc_become_a_market_file_that_a_run_takes(cli: Cli, tmp_path: Path) -> None:
    async with simulator() as sim:
        days = span(YESTERDAY - timedelta(days=1), YESTERDAY)
        code, out, _ = await cli(sim, "data", "download", "btc.parquet", "--venue", "mexc", *days, "--json")
        assert code == 0
        told = json.loads(out)
        assert (told["usable"], told["download"]["days"], told["download"]["fetched"]) == (True, 2, 2)
        assert not (tmp_path / "btc.parquet.parts").exists()
        market = open_source(tmp_path / "btc.parquet")
        assert market.instruments["BTCUSDT"].venue == "mexc"
        assert market.instruments["BTCUSDT"].min_notional == 1
        first_ns = datetime(YESTERDAY.year, YESTERDAY.month, YESTERDAY.day, tzinfo=UTC).timestamp() * 1e9 - 86_400e9
        assert first_ns <= market.info.first_ns <= first_ns + 60e9
        assert market.info.rows <= 4 * 2 * 1440
        code, _, err = await cli(sim, "data", "download", "btc.parquet", "--venue", "mexc", *days)
        assert code == 1
        assert "--force" in err


async def test_a_download_that_was_cut_off_goes_on_where_it_was(cli: Cli, tmp_path: Path) -> None:
    async with simulator() as sim:
        first = YESTERDAY - timedelta(days=2)
        command = ("data", "download", "btc.parquet", "--venue", "mexc", *span(first, YESTERDAY), "--json")
        sim.fault(faults.Refuse(path="klines", skip=7, code=33333))
        code, _, _ = await cli(sim, *command)
        assert code == 1
        parts = tmp_path / "btc.parquet.parts"
        whole = [part.name for part in sorted(parts.glob("*.csv")) if is_whole(part)]
        assert whole == [f"mexc-BTCUSDT-1m-{first + timedelta(days=n)}.csv" for n in range(2)]
        sim.clear_faults()
        damaged = parts / whole[1]
        damaged.write_text(damaged.read_text()[:-40])
        code, out, _ = await cli(sim, *command)
        assert code == 0
        assert (json.loads(out)["download"]["days"], json.loads(out)["download"]["fetched"]) == (3, 2)


async def test_a_day_that_is_not_over_or_a_symbol_that_is_not_listed_is_refused(cli: Cli) -> None:
    async with simulator() as sim:
        today = YESTERDAY + timedelta(days=1)
        code, _, err = await cli(sim, "data", "download", "x.parquet", "--venue", "mexc", *span(YESTERDAY, today))
        assert code == 2
        assert f"the last full day is {YESTERDAY}" in err
        wrong = ("--symbol", "BTCUSTD", "--from", str(YESTERDAY), "--to", str(YESTERDAY))
        code, _, err = await cli(sim, "data", "download", "x.parquet", "--venue", "mexc", *wrong)
        assert code == 2
        assert "Did you mean BTCUSDT?" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--from", "yesterday", "--to", "2026-01-01"), "give a day"),
        (("--from", "2026-01-01", "--to", "2026-13-01"), "give a day"),
        (("--from", "2026-01-01", "--to", "2026-01-02", "--kind", "kline"), "Did you mean klines?"),
        (("--from", "2026-01-01", "--to", "2026-01-02", "--interval", "2m"), "give one of 1m"),
        (("--from", "2026-01-01", "--to", "2026-01-02", "--archive-url", "http://x"), "--venue binance"),
        (("--from", "2026-01-02", "--to", "2026-01-01"), "is no span of days"),
    ],
)
async def test_a_download_that_makes_no_sense_is_refused(cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    async with simulator() as sim:
        code, _, err = await cli(
            sim, "data", "download", "x.parquet", "--venue", "mexc", "--symbol", "BTCUSDT", *arguments
        )
    assert code == 2
    assert says in err


def trades_at(times_ms: list[int]) -> Callable[[web.Request], web.Response]:
    """GET aggTrades over trades at these times (whole seconds, as MEXC tells them): the first 1000 of the range."""

    def answer(request: web.Request) -> web.Response:
        start, end, limit = (int(request.query[name]) for name in ("startTime", "endTime", "limit"))
        inside = [ms for ms in times_ms if start <= ms <= end][:limit]
        rows = [
            {"a": None, "f": None, "l": None, "p": "1.5", "q": "2", "T": ms, "m": ms % 2000 == 0, "M": True}
            for ms in inside
        ]
        return web.json_response(rows)

    return answer


async def fetch_trades(server_url: str, target: Path) -> Any:
    day = DAYS[0]
    async with open_rest(MexcSettings(rest_url=server_url)) as rest:
        history = MexcHistory(rest, "ABCUSDT", "aggTrades")
        return await download(history, Wanted("ABCUSDT", "aggTrades", "1m", day, day), target)


def server_of(times_ms: list[int]) -> dict[str, Any]:
    later = {"serverTime": 1730100000000}
    return {"/api/v3/time": later, "/api/v3/aggTrades": trades_at(times_ms)}


async def test_trades_of_mexc_are_asked_for_in_halves_until_no_answer_is_full(tmp_path: Path) -> None:
    start_ms = round(datetime(2024, 10, 27, tzinfo=UTC).timestamp() * 1000)
    times_ms = [start_ms - 1000] + [start_ms + n * 25_000 // 1000 * 1000 for n in range(3400)] + [start_ms + 86_400_000]
    async with serving(server_of(times_ms)) as server:
        done = await fetch_trades(server.url, tmp_path / "t.parquet")
        assert 4 < server.paths().count("/api/v3/aggTrades") < 20
    assert done.written.rows == 3400
    market = open_source(tmp_path / "t.parquet")
    assert market.info.first_ns == start_ms * 1_000_000
    sides = [trade.side for batch in market.batches() for trade in batch if isinstance(trade, Trade)]
    assert sides[0] == "SELL"
    assert set(sides) == {"BUY", "SELL"}


async def test_a_second_with_more_trades_than_an_answer_holds_is_said_and_not_cut(tmp_path: Path) -> None:
    start_ms = round(datetime(2024, 10, 27, 12, tzinfo=UTC).timestamp() * 1000)
    async with serving(server_of([start_ms] * 1000)) as server:
        with pytest.raises(DataError, match="--kind klines"):
            await fetch_trades(server.url, tmp_path / "t.parquet")
    assert not (tmp_path / "t.parquet").exists()


async def test_a_day_that_mexc_does_not_have_is_named(tmp_path: Path) -> None:
    async with serving(server_of([])) as server:
        with pytest.raises(DataError, match="no aggTrades of ABCUSDT on 2024-10-27"):
            await fetch_trades(server.url, tmp_path / "t.parquet")


def packed(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


TRADE_LINE = "1001,84270.10,0.002,2001,2002,{ms},True,True\n"
KLINE_LINE = "{ms},84270.1,84280.0,84260.0,84275.5,1.5,{end},126400.1,9,0.7,58000.2,0\n"


def archive_of(kind: str, *, damage: str = "") -> dict[str, Any]:
    """What the archive serves of two days, one of them perhaps damaged."""
    answers: dict[str, Any] = {}
    for day in DAYS:
        ms = round(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() * 1000)
        name = f"BTCUSDT-{'1m' if kind == 'klines' else kind}-{day}"
        line = (TRADE_LINE if kind == "aggTrades" else KLINE_LINE).format(ms=ms, end=ms + 59_999)
        lines = line if kind == "aggTrades" else line + KLINE_LINE.format(ms=ms + 60_000, end=ms + 119_999)
        body = packed(f"{name}.csv", lines.replace("1001,", f"{1000 + day.day},"))
        digest = hashlib.sha256(body + damage.encode() * (day == DAYS[1])).hexdigest()
        folder = f"/data/spot/daily/{kind}/BTCUSDT{'/1m' if kind == 'klines' else ''}"
        answers[f"{folder}/{name}.zip"] = lambda _, body=body: web.Response(body=body)
        answers[f"{folder}/{name}.zip.CHECKSUM"] = lambda _, text=f"{digest}  {name}.zip\n": web.Response(text=text)
    return answers


@pytest.mark.parametrize(("kind", "rows"), [("aggTrades", 2), ("klines", 16)])
async def test_days_of_binances_archive_are_held_against_their_checksums_and_joined(
    cli: Cli, tmp_path: Path, kind: str, rows: int
) -> None:
    async with serving(archive_of(kind)) as server:
        command = ("data", "download", "b.parquet", "--venue", "binance", *span(*DAYS), "--kind", kind)
        code, out, err = await cli(None, *command, "--archive-url", server.url)
        assert code == 0, err
        assert f"{rows} events of 2 days" in out
        market = open_source(tmp_path / "b.parquet")
        assert (market.info.rows, market.info.venue, market.info.symbols) == (rows, "binance", ("BTCUSDT",))


async def test_a_day_that_is_not_what_its_checksum_says_is_not_used(cli: Cli, tmp_path: Path) -> None:
    command = ("data", "download", "b.parquet", "--venue", "binance", *span(*DAYS), "--archive-url")
    async with serving(archive_of("aggTrades", damage="x")) as server:
        code, _, err = await cli(None, *command, server.url)
        assert code == 1
        assert "is not what its checksum says" in err
    assert not (tmp_path / "b.parquet").exists()
    async with serving(archive_of("aggTrades")) as server:
        code, out, _ = await cli(None, *command, server.url)
        assert code == 0
        assert "2 days (1 fetched now)" in out


async def test_a_day_that_the_archive_does_not_have_is_named(cli: Cli) -> None:
    async with serving({}) as server:
        code, _, err = await cli(
            None, "data", "download", "b.parquet", "--venue", "binance", *span(*DAYS), "--archive-url", server.url
        )
    assert code == 1
    assert "was not traded on 2024-10-27" in err


async def test_an_archive_that_breaks_off_is_asked_again_and_then_given_up(tmp_path: Path) -> None:
    async def no_time(_: float) -> None:
        return None

    wanted = Wanted("BTCUSDT", "aggTrades", "1m", DAYS[0], DAYS[0])
    answers = archive_of("aggTrades")
    name = next(path for path in answers if path.endswith("27.zip"))
    good = answers[name]
    broken = lambda _: web.Response(status=502)  # noqa: E731
    async with aiohttp.ClientSession() as session:
        for line, works in ((Line([broken, broken, good]), True), (Line([broken]), False)):
            async with serving({**answers, name: line}) as server:
                history = BinanceArchive(session, "BTCUSDT", "aggTrades", base_url=server.url, sleep=no_time)
                target = tmp_path / f"{works}.parquet"
                if works:
                    assert (await download(history, wanted, target)).written.rows == 1
                else:
                    with pytest.raises(ClaireError, match="HTTP 502"):
                        await download(history, wanted, target)
