"""What `claire` says: help, refusals, sources, and numbers as a person reads them."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from decimal import Decimal

import pytest

from claire import __version__
from claire.adapters.config import load
from claire.cli import generate, market, plan
from claire.cli.main import help_lines, main
from claire.cli.output import duration, money, percent
from claire.cli.report import replay_text
from claire.cli.runs import all_runs, find_run, runs_folder
from claire.cli.trading import Stop
from claire.engine.compare import Difference
from claire.model.decisions import Code
from claire.model.errors import UsageError
from claire.model.orders import TRANSITIONS
from claire.services.replay import ReplayResult


def says(capsys, *arguments: str) -> tuple[int, str, str]:
    """Run `claire` here; return the exit code, stdout and stderr."""
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


# -- help -----------------------------------------------------------------------------------------------------------------


def test_help_comes_without_anything_heavy():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "claire.cli.main", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {
        "pydantic",
        "pydantic_settings",
        "sqlalchemy",
        "alembic",
        "polars",
        "numpy",
        "rich",
        "msgspec",
    }
    assert done.stdout.startswith("Usage: claire COMMAND")


def test_help_names_every_command_and_tells_the_ways_to_stop_apart(capsys):
    code, out, _ = says(capsys)
    assert code == 0
    assert out.splitlines() == help_lines()
    for name in [*plan.PLANNED, *(name for group in plan.GROUPS.values() for name in group)]:
        assert f" {name}" in out
    for row in ("Ctrl-C ", "down (planned)", "kill ", "flatten (planned)", "panic "):
        assert any(line.strip().startswith(row) for line in out.splitlines())
    assert max(map(len, out.splitlines())) <= 120


@pytest.mark.parametrize("command", ["run", "backtest", "replay", "history", "doctor"])
def test_every_command_has_help_and_json(capsys, command):
    code, out, _ = says(capsys, command, "--help")
    assert code == 0
    assert "--json" in out


def test_the_version_is_told(capsys):
    assert says(capsys, "--version")[:2] == (0, f"claire {__version__}\n")
    assert says(capsys, "--version", "history")[:2] == (0, f"claire {__version__}\n")


@pytest.mark.parametrize("arguments", [("--version", "--json"), ("--json", "--version")])
def test_the_version_is_told_as_json(capsys, arguments):
    code, out, _ = says(capsys, *arguments)
    assert (code, json.loads(out)) == (0, {"version": __version__})


@pytest.mark.parametrize("arguments", [("--json",), ("--json", "history")])
def test_json_stands_after_the_command(capsys, arguments):
    code, out, err = says(capsys, *arguments)
    assert code == 2
    assert json.loads(out)["exit_code"] == 2
    assert "--json stands after the command, as in claire history --json" in err
    assert "claire COMMAND --json" in says(capsys, "--help")[1]


# -- refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(plan.PLANNED))
def test_a_planned_command_says_so(capsys, name):
    code, out, err = says(capsys, name)
    assert (code, out) == (2, "")
    assert err.startswith(f"claire: claire {name} (")
    assert "is planned, see ROADMAP.md" in err


@pytest.mark.parametrize(("typed", "meant"), [("bactest", "backtest"), ("kil", "kill"), ("histroy", "history")])
def test_a_mistyped_command_is_guessed(capsys, typed, meant):
    code, _, err = says(capsys, typed)
    assert code == 2
    assert f"there is no command {typed}. Did you mean {meant}?" in err


def test_a_mistyped_option_is_guessed_and_the_help_is_named(capsys):
    code, _, err = says(capsys, "run", "--sped", "1")
    assert code == 2
    assert "--speed" in err
    assert "See claire run --help" in err


@pytest.mark.parametrize("mode", ["shadow", "canary", "live"])
def test_a_mode_that_is_not_built_is_refused_for_safety_and_names_the_nearest(capsys, mode):
    code, out, err = says(capsys, "run", "--mode", mode, "--json")
    assert code == 3
    assert json.loads(out) == {"error": err.removeprefix("claire: ").rstrip("\n"), "exit_code": 3}
    assert f"mode {mode} is not built yet, so nothing was started. The nearest mode is testnet" in err


@pytest.mark.parametrize("source", ["mexc", "mexc_pb"])
def test_a_backtest_of_a_live_market_is_refused(capsys, monkeypatch, tmp_path, source):
    monkeypatch.setenv("WS_SOURCE", source)
    code, _, err = says(capsys, "backtest", "--runs", str(tmp_path))
    assert code == 2
    assert f"--source {source} is a live market: claire run trades it, a backtest needs --data FILE" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--data", "x.csv"], "mode testnet trades live: leave out --data and --source"),
        (["--source", "synth"], "mode testnet trades live: leave out --data and --source"),
        (["--speed", "60x"], "--speed 60x is for recorded and synthetic markets; a live run takes --duration"),
        (["--start", "2024-01-01"], "--start 2024-01-01 is for recorded and synthetic markets"),
    ],
)
def test_a_live_run_refuses_what_only_a_recording_has(capsys, tmp_path, arguments, text):
    code, _, err = says(capsys, "run", "--mode", "testnet", "--duration", "1s", "--runs", str(tmp_path), *arguments)
    assert code == 2
    assert text in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "--mode", "papr"], "Did you mean paper?"),
        (["run", "--mode", "backtest"], "claire backtest --data FILE"),
        (["run", "--source", "sinth"], "Did you mean synth?"),
        (["run", "--source", "recorded"], "--source recorded:FILE"),
        (["run", "--source", "synth:sed=1"], "Did you mean seed?"),
        (["run", "--source", "synth:foo=1"], "foo is not an option. Options: symbol, seed, trades, duration_s, rate,"),
        (["run", "--set", "foo=1"], "foo is not a setting. claire doctor lists every setting."),
        (["run", "--set", "instruments.FOO.tick=1"], "instruments.FOO.tick: FOO is not traded. Traded: BTCUSDT."),
        (
            ["run", "--set", "instruments.BTCUSDT.quote=USD"],
            "instruments.BTCUSDT.quote = USD: the synthetic market of BTCUSDT",
        ),
        (["run", "--symbol", "ODDXYZ"], "ODDXYZ: the synthetic market takes a symbol that tells base and quote"),
        (["backtest", "--source", "synth", "--set", "mode=live"], "mode = live contradicts claire backtest"),
        (["run", "--source", "synth:seed"], "is not KEY=VALUE"),
        (["run", "--source", "synth:duration_s=5m"], "5m is 300 here"),
        (["run", "--source", "synth:rate=0"], "synth.rate = 0"),
        (["run", "--source", "synth", "--data", "x"], "name two markets"),
        (["run", "--speed", "fast"], "give max, or market seconds per second"),
        (["run", "--speed", "0"], "give max"),
        (["run", "--duration", "5y"], "such as 5400s, 90m or 1.5h"),
        (["run", "--start", "yesterday"], "give a UTC date or time"),
        (["run", "--start", "2024-01-02", "--end", "2024-01-01"], "is not after"),
        (["run", "--start", "2024-01-02"], "a synthetic market takes --duration"),
        (["run", "--symbol", "BTCUSDT", "--symbol", "ETHUSDT"], "choose one with --symbol"),
        (["run", "--set", "risk.position_pct=5%"], "5% is 5 here."),
        (["run", "--set", "risk.profile=unlimited"], "backtest and replay only"),
        (["run", "--strategy", "momentm"], "Did you mean momentum?"),
        (["backtest"], "claire backtest needs a market"),
        (["replay"], "Missing argument 'RUN'"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_answered_with_the_remedy(capsys, tmp_path, arguments, text):
    runs = [] if arguments == ["replay"] else ["--runs", str(tmp_path)]
    code, out, err = says(capsys, *arguments, *runs)
    assert (code, out) == (2, "")
    assert err.startswith("claire: ")
    assert text in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [["run"], ["backtest", "--source", "synth"], ["history"], ["replay", "last"]])
def test_a_folder_of_runs_that_is_none_is_refused_before_anything_runs(capsys, tmp_path, monkeypatch, command):
    file = tmp_path / "file"
    file.write_text("")
    remedy = "choose another folder with --runs or CLAIRE_HOME"
    for folder in (file, file / "runs"):
        code, out, err = says(capsys, *command, "--runs", str(folder))
        assert (code, out) == (2, "")
        assert err == f"claire: runs cannot be kept in {folder} (--runs): {file} is not a folder; {remedy}\n"
    monkeypatch.setenv("CLAIRE_HOME", str(file))
    code, out, err = says(capsys, *command)
    assert (code, out) == (2, "")
    assert err == f"claire: runs cannot be kept in {file / 'runs'} (CLAIRE_HOME): {file} is not a folder; {remedy}\n"


def test_a_folder_of_runs_that_cannot_be_made_is_refused(capsys, tmp_path):
    folder = tmp_path / ("x" * 300)
    code, out, err = says(capsys, "run", "--speed", "max", "--runs", str(folder))
    assert (code, out) == (2, "")
    assert f"runs cannot be kept in {folder} (--runs): File name too long; choose another" in err


def test_doctor_finds_a_folder_of_runs_that_is_none(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, _ = says(capsys, "doctor", "--runs", str(tmp_path / "file"))
    assert code == 1
    assert f"FAILED  runs                  runs cannot be kept in {tmp_path / 'file'} (--runs): " in out


def test_several_faults_are_indented_under_the_first(capsys):
    _, _, err = says(capsys, "run", "--set", "a=1", "--set", "b=2")
    assert err.splitlines()[1].startswith("        b is not a setting.")


def test_a_recording_that_is_missing_is_named(capsys, tmp_path):
    code, out, err = says(capsys, "backtest", "--data", str(tmp_path / "absent.csv"), "--json")
    assert code in (1, 2)
    assert "absent.csv" in err
    assert json.loads(out)["exit_code"] == code


def test_an_unexpected_fault_keeps_its_traceback_and_is_one_json_document(capsys, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("boom")

    monkeypatch.setattr("claire.cli.checking.history", broken)
    with pytest.raises(RuntimeError, match="boom"):
        main(["history", "--json"])
    out, _ = capsys.readouterr()
    assert json.loads(out)["exit_code"] == 1


# -- sources --------------------------------------------------------------------------------------------------------------


def test_data_and_source_recorded_mean_the_same(tmp_path):
    assert market.wanted("", [tmp_path], "synth") == market.wanted(f"recorded:{tmp_path}", (), "synth")


def test_stub_is_the_synthetic_market_and_says_stub():
    assert market.wanted("stub", (), "").label.startswith("STUB")
    assert market.wanted("", (), "synth").label == "synthetic market"


def test_the_synthetic_market_takes_symbol_rules_and_length_from_what_is_configured(tmp_path):
    settings = load(
        environ={}, folder=tmp_path, symbols=["ETHUSDT"], assignments=["instruments.ETHUSDT.tick=0.5"]
    ).settings
    source = market.open_market(
        market.wanted("synth:seed=2", (), ""), settings, None, market.parse_window("", "", "10m")
    )
    assert list(source.instruments) == ["ETHUSDT"]
    assert source.instruments["ETHUSDT"].tick == Decimal("0.5")
    assert 500 < (source.info.last_ns - source.info.first_ns) / 1e9 <= 600


@pytest.mark.parametrize(("text", "speed"), [("max", None), ("60x", 60.0), ("1.5x", 1.5), ("7", 7.0), ("", 120.0)])
def test_speeds(text, speed):
    assert market.parse_speed(text, 120.0) == speed


def test_a_window_is_utc_and_spans_take_units():
    window = market.parse_window("2024-10-27", "2024-10-27T06:30:00+00:00", "1.5h")
    assert window.start_ns == 1_729_987_200_000_000_000
    assert window.end_ns == window.start_ns + 6 * 3_600_000_000_000 + 1_800_000_000_000
    assert window.duration_s == 5400
    assert [market.parse_window("", "", text).duration_s for text in ("90m", "45s", "30", "2min", "1d")] == [
        5400,
        45,
        30,
        120,
        86400,
    ]


# -- words ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("1000", "USDT", "1,000.00"),
        ("0.00081", "USDT", "0.00081"),
        ("-1234567.891", "USD", "-1,234,567.89"),
        ("0.5", "BTC", "0.50000000"),
        ("0", "USDT", "0.00"),
        ("0.000000000000000001", "ETH", "0.0000000000000000010"),
    ],
)
def test_money_is_never_rounded_to_nothing(amount, currency, text):
    assert money(amount, currency) == text


def test_durations_and_percentages():
    assert [duration(s) for s in (0.25, 41, 75, 3600, 8040, 100_000)] == [
        "0.2 s",
        "41 s",
        "1 min 15 s",
        "1 h",
        "2 h 14 min",
        "1 d 3 h",
    ]
    assert [percent(x) for x in (0.001, -0.001, 1.5, Decimal("-2.5"))] == ["0.00 %", "0.00 %", "+1.50 %", "-2.50 %"]


# -- runs -----------------------------------------------------------------------------------------------------------------


def make_run(folder, name: str):
    (folder / name / "journal").mkdir(parents=True)
    (folder / name / "config.json").write_text("{}")
    return folder / name


def test_a_run_is_found_by_path_id_ending_and_as_the_last(tmp_path):
    first = make_run(tmp_path, "20260101-0000-zzz")
    last = make_run(tmp_path, "20260101-0000-aaa")
    (tmp_path / "notes").mkdir()
    assert all_runs(tmp_path) == [first, last]
    assert find_run("last", tmp_path) == last
    assert (
        find_run("zzz", tmp_path) == find_run("20260101-0000-zzz", tmp_path) == find_run(str(first), tmp_path) == first
    )


def test_a_run_that_is_not_there_or_not_clear_is_answered(tmp_path):
    with pytest.raises(UsageError, match="there are no runs in"):
        find_run("last", tmp_path)
    make_run(tmp_path, "20260101-0000-abc")
    make_run(tmp_path, "20260101-0001-abc")
    with pytest.raises(UsageError, match="abc means 2 runs"):
        find_run("abc", tmp_path)
    with pytest.raises(UsageError, match="there is no run xyz in"):
        find_run("xyz", tmp_path)


def test_the_folder_of_runs(tmp_path, monkeypatch):
    monkeypatch.delenv("CLAIRE_HOME", raising=False)
    assert str(runs_folder(None)) == "runs"
    monkeypatch.setenv("CLAIRE_HOME", str(tmp_path))
    assert runs_folder(None) == tmp_path / "runs"
    assert runs_folder(tmp_path / "x") == tmp_path / "x"


def test_doctor_tells_each_setting_with_its_source(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLAIRE_FEES__TAKER_BPS", "7")
    code, out, _ = says(capsys, "doctor", "--json", "--set", "lookback_s=60")
    document = json.loads(out)
    assert code == 0
    assert document["ok"] is True
    told = {row["name"]: (row["value"], row["source"]) for row in document["settings"]}
    assert told["fees.taker_bps"] == ("7", "CLAIRE_FEES__TAKER_BPS")
    assert told["strategy.momentum-1.lookback_s"] == ("60", "--set lookback_s=60")
    assert told["risk.position_pct"] == ("5", "default")


def test_doctor_finds_what_is_wrong(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = says(capsys, "doctor", "--set", "fees.takr_bps=1")
    assert code == 2
    assert "FAILED  configuration" in out
    assert "Did you mean fees.taker_bps?" in out


# -- stopping -------------------------------------------------------------------------------------------------------------


def test_a_stop_says_what_it_waits_for_and_the_second_one_ends_at_once(capfd, monkeypatch):
    monkeypatch.setattr("claire.cli.trading.PATIENCE_S", 0.05)
    stop = Stop()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGINT)
        assert wait_for(capfd) == "claire: waiting for the strategy to answer; again to stop now\n"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    with stop.listening():
        pass
    assert capfd.readouterr().err == ""


def test_a_stop_that_was_heard_says_that_the_run_is_being_closed(capfd, monkeypatch):
    monkeypatch.setattr("claire.cli.trading.PATIENCE_S", 0.05)
    stop = Stop()
    assert not stop()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        assert wait_for(capfd) == "claire: ending the run in order; again to stop now\n"


def test_a_stop_that_is_done_in_time_says_nothing(capfd, monkeypatch):
    monkeypatch.setattr("claire.cli.trading.PATIENCE_S", 0.05)
    stop = Stop()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
    assert (stop(), capfd.readouterr().err) == (True, "")


def wait_for(capfd) -> str:
    """What is said on stderr, as soon as something is."""
    deadline = time.monotonic() + 5
    said = ""
    while not said:
        assert time.monotonic() < deadline
        time.sleep(0.01)
        said = capfd.readouterr().err
    return said


# -- a replay in words ----------------------------------------------------------------------------------------------------


def replayed(decisions: int, difference: Difference | None) -> str:
    return replay_text(ReplayResult("r", difference is None, decisions, difference, "d1:x", "the journal", "c", "c"))


def test_a_replay_says_what_was_equal_and_where_the_first_difference_is():
    assert replayed(51, None).splitlines() == [
        " run r: 51 decisions decided again from the journal",
        " IDENTICAL    d1:x",
    ]
    recorded, now = {"event": "Signal", "price": 1}, {"event": "Signal", "price": 2}
    first = replayed(0, Difference(1, 7, recorded, now, ["price"])).splitlines()
    assert first[0] == " run r: decided again from the journal, first difference at decision 1"
    assert first[1] == " DIFFERENT    decision 1, input 7: Signal"
    later = replayed(12, Difference(13, 7, recorded, now, ["price"])).splitlines()
    assert later[0] == " run r: decided again from the journal, 12 decisions equal, first difference at decision 13"


# -- generated documents --------------------------------------------------------------------------------------------------


def test_the_generated_documents_are_those_that_the_code_says(checkout):
    stale = [name for name, text in generate.documents(checkout).items() if (checkout / name).read_text() != text]
    assert stale == []
    assert generate.main(["--check"]) == 0


def test_a_stale_document_is_named_and_not_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.main(["--check"]) == 1
    assert not list(tmp_path.iterdir())
    assert "docs/denials.md is stale. Write it again: python -m claire.cli.generate" in capsys.readouterr().err
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (tmp_path / "docs" / "denials.md").write_text("old")
    capsys.readouterr()
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "docs/denials.md is stale. Write it again: python -m claire.cli.generate"
    ]


def test_every_code_and_every_transition_is_in_the_documents(checkout):
    denials = (checkout / "docs" / "denials.md").read_text()
    assert all(f"`{code.value}`" in denials for code in Code)
    orders = (checkout / "docs" / "orders.md").read_text()
    assert all(f"{before} --> {after}" in orders for before, following in TRANSITIONS.items() for after in following)


def test_the_example_is_a_configuration_as_it_stands_and_with_every_line_uncommented(checkout, tmp_path):
    text = (checkout / "claire.example.toml").read_text()
    as_it_stands = tmp_path / "a.toml"
    as_it_stands.write_text(text)
    assert load(config=as_it_stands, environ={}).settings == load(environ={}, folder=tmp_path).settings
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    full = [
        line
        for line in lines
        if line.startswith("[") or (" = " in line and not line.endswith(".") and line[0].islower())
    ]
    everything = tmp_path / "b.toml"
    everything.write_text("\n".join(full))
    loaded = load(config=everything, environ={})
    assert len(tomllib.loads(everything.read_text())) > 10
    assert {source for _, _, source in loaded.rows()} - {"default"} != set()
    assert loaded.settings.instruments["BTCUSDT"].tick == Decimal("0.01")
