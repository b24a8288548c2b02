"""What opening a recording promises: exact events, rules that do not depend on the format, and refusals that help."""

import gzip
import json
import zipfile
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from claire.adapters.marketdata import open_source, open_sources
from claire.adapters.marketdata.recorded import RecordedMarket
from claire.model.errors import ConfigError, DataError, UsageError
from claire.model.market import Side, Trade

T0 = 1_729_987_200_000
AGG = "{id},{price},{qty},{id},{id},{ts},{maker},True"


def events(source: RecordedMarket) -> list[Trade]:
    return [event for batch in source.batches() for event in batch if isinstance(event, Trade)]


def agg_rows(prices: list[str], *, qty: str = "2.50", step_ms: int = 1000, scale: int = 1) -> str:
    rows = [
        AGG.format(id=100 + k, price=price, qty=qty, ts=(T0 + k * step_ms) * scale, maker=k % 2 == 0)
        for k, price in enumerate(prices)
    ]
    return "\n".join(rows) + "\n"


def write_csv(folder: Path, text: str, name: str = "BTCUSDT-aggTrades-2024-10-27.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def write_parquet(folder: Path, name: str = "market.parquet", **columns: object) -> Path:
    path = folder / name
    pl.DataFrame(columns).write_parquet(path)
    return path


PRICES = ["60000.10", "60000.2", "59999.90", "60001.00"]


def test_binance_aggtrades_without_a_header_become_trades_with_the_takers_side(tmp_path):
    source = open_source(write_csv(tmp_path, agg_rows(PRICES)))
    trades = events(source)
    assert [t.price_ticks for t in trades] == [600001, 600002, 599999, 600010]
    assert [t.quantity_lots for t in trades] == [25] * 4
    assert [t.side for t in trades] == [Side.SELL, Side.BUY, Side.SELL, Side.BUY]
    assert trades[0].ts_event_ns == T0 * 1_000_000
    assert all(t.ts_recv_ns is None and t.trade_id == "" for t in trades)


def test_microsecond_stamps_are_told_by_their_size(tmp_path):
    ms = events(open_source(write_csv(tmp_path, agg_rows(PRICES))))
    us = events(open_source(write_csv(tmp_path, agg_rows(PRICES, scale=1000), "BTCUSDT-aggTrades-2025-01-01.csv")))
    assert ms == us


def test_zip_and_csv_with_and_without_header_give_the_same_events(tmp_path):
    bare = write_csv(tmp_path, agg_rows(PRICES))
    header = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker,best\n"
    titled = write_csv(tmp_path, header + agg_rows(PRICES), "BTCUSDT-aggTrades-titled.csv")
    packed = tmp_path / "BTCUSDT-aggTrades-2024-10-27.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(bare, "BTCUSDT-aggTrades-2024-10-27.csv")
    one, two, three = (open_source(path) for path in (bare, titled, packed))
    assert events(one) == events(two) == events(three)
    assert one.instruments == two.instruments == three.instruments


def test_binance_trades_of_spot_and_futures_are_told_apart_from_aggtrades(tmp_path):
    spot = "1,60000.1,0.5,30000.05,1729987200000,True,True\n2,60000.2,0.5,30000.1,1729987200001,False,True\n"
    futures = "id,price,qty,quote_qty,time,is_buyer_maker\n" + "".join(
        line.rpartition(",")[0] + "\n" for line in spot.splitlines()
    )
    a = open_source(write_csv(tmp_path, spot, "BTCUSDT-trades-2024-10-27.csv"))
    b = open_source(write_csv(tmp_path, futures, "BTCUSDT-trades-um-2024-10-27.csv"))
    assert events(a) == events(b)
    assert a.info.parameters["format"] == "Binance trades"
    assert any("linear perpetual" in warning for warning in b.info.warnings)


def test_trade_lists_and_parquet_of_the_same_trades_are_the_same(tmp_path):
    rows = [[T0, "7", None, "sell", 0.00141342, 23.0, 0.03], [T0 + 5, "8", None, "buy", 1e-05, 54.0, 0.07]]
    rows += [[T0 + 6 + k, str(9 + k), None, "buy", 0.001413, 1.0, 0.07] for k in range(9)]
    rows[1][4] = 0.00141266
    packed = tmp_path / "XRP_ETH-trades.json.gz"
    packed.write_bytes(gzip.compress(json.dumps(rows).encode()))
    table = write_parquet(
        tmp_path,
        ts_ms=[row[0] for row in rows],
        price=[row[4] for row in rows],
        qty=[row[5] for row in rows],
        side=[row[3] for row in rows],
        symbol=["XRPETH"] * len(rows),
    )
    assert events(open_source(packed)) == events(open_source(table))
    assert open_source(packed).instruments["XRPETH"].tick == Decimal("1E-8")


def test_numbers_with_more_digits_than_a_double_holds_are_read_exactly(tmp_path):
    text = "ts_ms,price,qty,side,symbol\n1729987200000,12345.123456789,1.000000001,buy,BTCUSDT\n"
    text += "1729987200001,12345.1,98765432.123456789,buy,BTCUSDT\n"
    trades = events(open_source(write_csv(tmp_path, text, "x.csv")))
    assert [t.quantity_lots for t in trades] == [1_000_000_001, 98_765_432_123_456_789]
    assert trades[0].price_ticks == 12_345_123_456_789


def test_trailing_zeros_do_not_make_a_finer_lot(tmp_path):
    text = agg_rows(["0.00000908", "0.00000907"], qty="28445331.00").replace("BTCUSDT", "PEPEUSDT")
    source = open_source(write_csv(tmp_path, text, "PEPEUSDT-aggTrades-2024-10-27.csv"))
    rules = source.instruments["PEPEUSDT"]
    assert (rules.lot, rules.tick, rules.min_notional) == (Decimal(1), Decimal("0.00000001"), Decimal(0))
    assert rules.source == "inferred"
    assert any("inferred" in warning for warning in source.info.warnings)


def test_given_rules_go_before_inferred_ones(tmp_path):
    path = write_csv(tmp_path, agg_rows(PRICES))
    source = open_source(path, rules={"BTCUSDT": {"tick": "0.05", "min_notional": Decimal(5)}})
    assert source.instruments["BTCUSDT"].tick == Decimal("0.05")
    assert source.instruments["BTCUSDT"].lot == Decimal("0.1")
    assert events(source)[0].price_ticks == 1200002
    with pytest.raises(DataError, match=r"line 1: BTCUSDT: price 60000.10 is no whole number of ticks of 7"):
        open_source(path, rules={"BTCUSDT": {"tick": "7"}})
    with pytest.raises(ConfigError, match=r"instruments.BTCUSDT.tik is not an instrument rule. Did you mean tick\?"):
        open_source(path, rules={"BTCUSDT": {"tik": "7"}})
    with pytest.raises(ConfigError, match="is not a decimal number"):
        open_source(path, rules={"BTCUSDT": {"tick": "fine"}})


def test_rules_come_from_all_rows_whatever_range_is_read(tmp_path):
    path = write_csv(tmp_path, agg_rows(PRICES))
    whole, part = open_source(path), open_source(path, start=1, end=2)
    assert part.instruments == whole.instruments
    assert events(part) == events(whole)[1:2]
    assert part.info.parameters["start"] == "1"
    assert part.info.rows == 1
    with pytest.raises(UsageError, match="no range"):
        open_source(path, start=3, end=2)


def test_headerless_seconds_get_their_sides_by_the_tick_rule_and_say_so(tmp_path):
    text = "1502109604,3521.90,0.131\n1502109682,3525,5\n1502109682,3525,1\n1502109784,3500.1,0.02\n"
    path = tmp_path / "okcoin_BTCUSD_ticks.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    source = open_source(path)
    assert [t.side for t in events(source)] == [Side.BUY, Side.BUY, Side.BUY, Side.SELL]
    assert events(source)[0].ts_event_ns == 1_502_109_604_000_000_000
    assert any("tick rule" in warning for warning in source.info.warnings)


def test_disordered_rows_are_sorted_stably_and_counted(tmp_path):
    path = write_parquet(
        tmp_path,
        ts_ms=[T0, T0 + 9, T0 + 3, T0 + 9, T0 + 3],
        price=[1.0, 2.0, 1.1, 2.1, 1.2],
        qty=[1.0] * 5,
        side=["buy"] * 5,
        symbol=["BTCUSDT"] * 5,
    )
    source = open_source(path)
    assert [t.price_ticks for t in events(source)] == [10, 11, 12, 20, 21]
    assert any("2 rows were out of time order" in warning for warning in source.info.warnings)


def test_repeated_trades_are_dropped_and_counted_but_a_contradiction_is_an_error(tmp_path):
    columns = {"ts_ms": [T0, T0 + 1, T0 + 1], "qty": [1.0] * 3, "side": ["buy"] * 3, "symbol": ["BTCUSDT"] * 3}
    same = write_parquet(tmp_path, "same.parquet", price=[1.0, 2.0, 2.0], trade_id=[5, 6, 6], **columns)
    source = open_source(same)
    assert len(events(source)) == 2
    assert any("1 repeated trades" in warning for warning in source.info.warnings)
    other = write_parquet(tmp_path, "other.parquet", price=[1.0, 2.0, 2.1], trade_id=[5, 6, 6], **columns)
    with pytest.raises(DataError, match=r"other.parquet, row 3: trade id 6 stands for another trade at row 2"):
        open_source(other)


@pytest.mark.parametrize(
    ("price", "qty", "message"),
    [
        ("nan", "1", r"line 3: price nan is not a number \(NaN\)"),
        ("inf", "1", r"line 3: price inf is infinite"),
        ("0", "1", r"line 3: price 0 is zero"),
        ("-5", "1", r"line 3: price -5 is negative"),
        ("", "1", r"line 3: price None is missing"),
        ("five", "1", r"line 3: price five is not a number"),
        ("0.1234567890123456789", "1", r"line 3: price 0.1234567890123456789 is finer than 18 decimals"),
        ("60000", "nan", r"line 3: quantity nan is not a number"),
        ("60000", "0.000", r"line 3: quantity 0.000 is zero"),
        ("60000", "-1", r"line 3: quantity -1 is negative"),
        ("60000", "99999999999999999999", r"line 3: quantity 99999999999999999999 is larger than 64 bits hold"),
        ("600000", "1", r"line 3: price 600000 is absurd"),
        ("600", "1", r"line 3: price 600 is absurd"),
    ],
)
def test_a_bad_number_is_refused_with_place_value_and_remedy(tmp_path, price, qty, message):
    rows = ["ts_ms,price,qty,side,symbol", f"{T0},60000,1,buy,BTCUSDT", f"{T0 + 1},{price},{qty},sell,BTCUSDT"]
    rows += [f"{T0 + 2 + k},60000,1,buy,BTCUSDT" for k in range(5)]
    path = write_csv(tmp_path, "\n".join(rows) + "\n", "bad.csv")
    with pytest.raises(DataError, match=message) as caught:
        open_source(path)
    assert "bad.csv" in str(caught.value)
    assert "claire data check" in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_bad_float_in_parquet_is_refused_by_row(tmp_path, value):
    path = write_parquet(tmp_path, ts_ms=[T0, T0 + 1], price=[1.0, value], qty=[1.0, 1.0], symbol=["BTCUSDT"] * 2)
    with pytest.raises(DataError, match="row 2: price"):
        open_source(path)


@pytest.mark.parametrize(
    ("field", "bad", "message"), [("side", "hold", "side hold is neither"), ("ts_ms", "noon", "no time")]
)
def test_a_bad_side_or_time_is_refused(tmp_path, field, bad, message):
    row = {"ts_ms": str(T0), "price": "1", "qty": "1", "side": "buy", "symbol": "BTCUSDT"}
    rows = [",".join(row), ",".join(row.values()), ",".join((row | {field: bad}).values())]
    with pytest.raises(DataError, match=message):
        open_source(write_csv(tmp_path, "\n".join(rows) + "\n", "bad.csv"))


def test_a_lasting_crash_is_no_absurd_price(tmp_path):
    prices = ["60000"] * 800 + ["10000"] * 800
    assert len(events(open_source(write_csv(tmp_path, agg_rows(prices))))) == 1600


def test_missing_empty_and_wrong_kinds_of_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing.csv: there is no such file"):
        open_source(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="is a folder"):
        open_source(tmp_path)
    for name, content, message in [
        ("a.csv", b"", "is empty"),
        ("b.csv", b"\n\n", "holds no data"),
        ("c.csv", b"\x00\x01\x02\x03", "is no market data file"),
        ("d.parquet", b"this is text", "does not begin like a parquet file"),
        ("e.json", b"[]", "the list is empty"),
        ("f.json", b"[[1, 2, 3]]", "is neither a trade"),
        ("g.json", b'[[1,"1",null,"buy",1.0,1.0,1.0],[1]]', "row 2: .* does not have the 7 fields"),
        ("h.csv", b"ts_ms,price,qty,side,symbol\n", "holds no trades"),
        ("i.csv", b"1,2\n", "neither a header nor a row of a known headerless format"),
        ("j.csv", b"ts_ms,price,qty\n1,\xff\xfe,3\n", "corrupt"),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            open_source(path)
        assert name in str(caught.value)


def test_a_file_cut_off_anywhere_is_refused_not_half_read(tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    text = agg_rows([f"{60000 + k / 10:.2f}" for k in range(2000)])
    csv = write_csv(whole, text)
    with zipfile.ZipFile(whole / "BTCUSDT-agg.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(csv, "BTCUSDT-aggTrades.csv")
    (whole / "BTCUSDT-agg.csv.gz").write_bytes(gzip.compress(text.encode()))
    pl.DataFrame({"ts_ms": [T0] * 500, "price": [1.5] * 500, "qty": [1.0] * 500}).write_parquet(
        whole / "BTCUSDT.parquet"
    )
    rows = [[T0, str(k), None, "buy", 1.5, 1.0, 1.5] for k in range(500)]
    (whole / "BTCUSDT-trades.json").write_text(json.dumps(rows))
    for name in ("BTCUSDT-agg.zip", "BTCUSDT-agg.csv.gz", "BTCUSDT.parquet", "BTCUSDT-trades.json"):
        content = (whole / name).read_bytes()
        assert events(open_source(whole / name))
        for part in (0.25, 0.5, 0.9, 0.999):
            cut = tmp_path / name
            cut.write_bytes(content[: int(len(content) * part)])
            with pytest.raises(DataError, match=r"truncated|corrupt"):
                open_source(cut)


def test_a_csv_cut_in_its_last_row_is_refused(tmp_path):
    path = write_csv(tmp_path, agg_rows(PRICES)[:-30])
    with pytest.raises(DataError, match="line 4"):
        open_source(path)


def test_a_flipped_byte_in_an_archive_is_found(tmp_path):
    path = tmp_path / "BTCUSDT-agg.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-aggTrades.csv", agg_rows(PRICES * 100))
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="corrupt"):
        open_source(path)


def test_an_archive_with_several_files_is_refused_by_name(tmp_path):
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "1")
        archive.writestr("b.csv", "2")
    with pytest.raises(DataError, match=r"exactly one file, this one holds a.csv, b.csv"):
        open_source(path)


def test_wrong_columns_get_a_suggestion(tmp_path):
    path = write_csv(tmp_path, "ts_ms,prise,qty,side\n1,2,3,buy\n", "x.csv")
    with pytest.raises(DataError, match=r"no column for the price: price is missing.*Did you mean prise\?"):
        open_source(path)


def test_an_unknown_symbol_gets_a_suggestion_and_the_list(tmp_path):
    path = write_parquet(
        tmp_path, ts_ms=[T0, T0], price=[1.0, 2.0], qty=[1.0, 1.0], side=["buy"] * 2, symbol=["PEPEUSDT", "APEUSDT"]
    )
    with pytest.raises(DataError, match=r"holds no PEPUSDT. Did you mean PEPEUSDT\? It holds APEUSDT, PEPEUSDT"):
        open_source(path, symbols=["PEPUSDT"])
    with pytest.raises(UsageError, match=r"holds 2 symbols: APEUSDT, PEPEUSDT. Choose with --symbol"):
        open_source(path)
    both = open_source(path, symbols=["pepe/usdt", "APEUSDT"])
    assert [t.symbol for t in events(both)] == ["APEUSDT", "PEPEUSDT"]


def test_a_symbol_at_two_venues_has_to_be_chosen(tmp_path):
    path = write_parquet(
        tmp_path,
        ts_ms=[T0, T0],
        price=[1.0, 2.0],
        qty=[1.0, 1.0],
        side=["buy"] * 2,
        symbol=["BTCUSDT"] * 2,
        venue=["binance_spot", "binance_um"],
    )
    with pytest.raises(UsageError, match=r"holds BTCUSDT for 2 venues: binance_spot, binance_um. Choose with --venue"):
        open_source(path)
    assert [t.price_ticks for t in events(open_source(path, venue="binance_usdm"))] == [2]
    with pytest.raises(DataError, match=r"Did you mean binance_spot\?"):
        open_source(path, venue="binance_sport")


def test_inverse_contracts_are_refused_by_name(tmp_path):
    path = write_parquet(
        tmp_path, ts_ms=[T0], price=[1.0], qty=[1.0], side=["buy"], symbol=["BTCUSD_PERP"], venue=["binance_cm"]
    )
    with pytest.raises(DataError, match=r"BTCUSD_PERP .binance_cm. is an inverse contract"):
        open_source(path)


def test_a_file_that_tells_no_symbol_needs_one(tmp_path):
    path = write_parquet(tmp_path, "day.parquet", ts_ms=[T0], price=[1.0], qty=[1.0], side=["buy"])
    with pytest.raises(UsageError, match="neither a column nor the file's name tells the symbol"):
        open_source(path)
    assert open_source(path, symbols=["BTCUSDT"], venue="mexc").instruments["BTCUSDT"].venue == "mexc"


def test_several_files_are_one_market_in_global_order(tmp_path):
    first = write_csv(tmp_path, agg_rows(["1.0", "1.1"], step_ms=10), "AAAUSDT-aggTrades-1.csv")
    second = write_csv(tmp_path, agg_rows(["2.0", "2.1"], step_ms=10), "BBBUSDT-aggTrades-1.csv")
    merged = open_sources([second, first])
    assert [(t.symbol, t.price_ticks) for t in events(merged)] == [
        ("AAAUSDT", 10),
        ("BBBUSDT", 20),
        ("AAAUSDT", 11),
        ("BBBUSDT", 21),
    ]
    assert merged.info.sha256
    assert len(json.loads(merged.info.parameters["files"])) == 2
    again = open_sources([first, first])
    assert len(events(again)) == 2
    assert any("repeated" in warning for warning in again.info.warnings)


def test_a_source_can_be_read_again_and_again(tmp_path):
    source = open_source(write_csv(tmp_path, agg_rows(PRICES * 3000)))
    assert events(source) == events(source)
    assert [len(batch) for batch in source.batches()] == [4096, 4096, 3808]
    assert (source.info.kind, source.info.rows, len(source.info.sha256)) == ("recorded", 12000, 64)


def test_without_the_extra_the_error_says_what_to_install():
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['polars'] = None\n"
        "from claire.model.errors import UsageError\n"
        "try:\n import claire.adapters.marketdata\nexcept UsageError as e:\n print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'claire[data]'" in done.stdout


def test_a_capture_without_trades_is_refused(tmp_path):
    path = tmp_path / "binance_spot_btcusdt.raw"
    path.write_text('1723161253937085768 {"stream":"x@kline","data":{"e":"kline","E":1723161255208,"s":"BTCUSDT"}}\n')
    with pytest.raises(DataError, match="holds no trades of BTCUSDT"):
        open_source(path)


@pytest.mark.parametrize("at", [0, 2, 4])
def test_a_time_in_another_unit_is_refused_with_its_row(tmp_path, at):
    rows = [["ts_ms", "price", "qty", "side"]]
    rows += [[str(T0 + 1000 * number), price, "1", "buy"] for number, price in enumerate([*PRICES, "60001.1"])]
    rows[at + 1][0] = rows[at + 1][0][:-3]
    path = write_csv(tmp_path, "\n".join(",".join(row) for row in rows) + "\n", "BTCUSDT-mine.csv")
    with pytest.raises(DataError, match=f"line {at + 2}: time .*30 days away from every other row.*claire data check"):
        open_source(path)


def test_two_recordings_months_apart_in_one_file_are_no_stray_times(tmp_path):
    rows = [
        f"{T0 + 1000 * number + shift},{price},1,buy"
        for shift in (0, 90 * 86_400_000)
        for number, price in enumerate(PRICES)
    ]
    path = write_csv(tmp_path, "ts_ms,price,qty,side\n" + "\n".join(rows) + "\n", "BTCUSDT-mine.csv")
    assert len(events(open_source(path))) == 8
