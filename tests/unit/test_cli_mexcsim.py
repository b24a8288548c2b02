"""`claire mexc-sim` as a program: what it prints at its start, what it logs, and what it refuses."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from claire.cli import mexcsim as command
from claire.cli.mexcsim import line, made_up_key, picture
from claire.mexcsim import Entry, SimConfig, Simulator, What
from claire.model.errors import ClaireError

PROGRAM = "import typer; from claire.cli.mexcsim import mexc_sim; typer.run(mexc_sim)"


def mexc_sim(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with a free port."""
    command = [sys.executable, "-c", PROGRAM, "--port", "0", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=os.environ | {"NO_COLOR": "1"}
    )


def test_json_begins_with_addresses_and_keys_and_goes_on_with_the_log():
    done = mexc_sim(
        "--json", "--duration", "0.3", "--keys", "2", "--symbol", "BTCUSDT", "--balance", "USDT=5", "--seed", "9"
    )
    lines = [json.loads(text) for text in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert lines[0]["symbols"] == ["BTCUSDT"]
    assert [(key["access_key"], key["secret"]) for key in lines[0]["keys"]] == [made_up_key(9, 1), made_up_key(9, 2)]
    assert lines[0]["rest_url"].startswith("http://127.0.0.1:")
    assert lines[-1]["what"] == "stopped"


def test_a_person_is_told_addresses_keys_and_how_to_break_it():
    said = mexc_sim("--duration", "0.3", "--generate", "3").stderr
    for part in ("3 pairs", "http://127.0.0.1:", "ws://127.0.0.1:", *made_up_key(1, 1), "/sim/faults", "loopback only"):
        assert part in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"symbol": ["BTCUST"]}, "Did you mean BTCUSDT?"),
        ({"speed": "fast"}, "1x or 60x, or max"),
        ({"balance": ["USDT"]}, "USDT=10000"),
        ({"balance": ["USDT=-1"]}, "less than nothing"),
        ({"scenario": Path("nowhere.toml")}, "name a scenario file"),
        ({"lockstep": True}, "needs a recording"),
        ({"fee_asset": "gold"}, "received or quote"),
        ({"generate": 2, "data": [Path("x.csv")]}, "Leave one of them out"),
        ({"lively": True, "data": [Path("x.csv")]}, "brings its own moves"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_remedy(arguments, said):
    with pytest.raises(ClaireError) as caught:
        command.mexc_sim(port=0, duration=0.1, **arguments)
    assert said in str(caught.value)


def test_a_recording_is_played(tmp_path: Path):
    rows = [f"{1_700_000_000_000 + second * 1000},{1.5 + second / 1000:.3f},10,buy" for second in range(50)]
    file = tmp_path / "XRPUSDT.csv"
    file.write_text("\n".join(["ts_ms,price,qty,side", *rows, ""]))
    done = mexc_sim("--json", "--duration", "0.3", "--data", str(file), "--symbol", "XRPUSDT", "--speed", "max")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["symbols"] == ["XRPUSDT"]


@pytest.mark.asyncio
async def test_the_picture_shows_pairs_counts_and_the_latest_entries():
    async with Simulator(SimConfig(symbols=SimConfig().symbols[:2])) as sim:
        sim.add_account("a", "b")
        console = Console(width=160, record=True, file=io.StringIO())
        console.print(picture(sim))
        shown = console.export_text()
    assert all(part in shown for part in ("BTCUSDT", "ETHUSDT", "sockets", "started"))


def test_an_entry_reads_as_a_line():
    entry = Entry(1_795_000_000_123, What.REFUSED, "BTCUSDT", "key", {"code": 30004, "text": ""})
    assert line(entry) == "11:06:40.123  order refused        BTCUSDT      code 30004"


def test_a_key_is_written_as_a_run_reads_it(tmp_path: Path):
    from claire.adapters.venues.mexc.secrets import read_keys
    from claire.cli.mexcsim import _write_key, made_up_key

    _write_key(tmp_path / "keys", 7)
    _write_key(tmp_path / "keys", 8)  # of another simulator: it replaces the first
    read_keys(tmp_path / "keys")
    assert (tmp_path / "keys" / "mexc_access_key").read_text() == made_up_key(8, 1)[0]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}
