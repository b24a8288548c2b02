"""The ledger's tables: the migrations lead to them, and back."""

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from claire.adapters.store.database import alembic_config, migrate, open_ledger, read_ledger, revision, settle
from claire.adapters.store.tables import HEAD_REVISION, metadata
from claire.model.errors import LedgerError

A_RUN = "INSERT INTO runs VALUES ('0', 'a', 'v', 'm', 'c', 't', 's', '{}', 'k', 'p', 'h', 'x', 1, 'h', NULL, NULL)"


def schema(engine: sa.Engine) -> list[tuple[str, str, str]]:
    query = sa.text(
        "SELECT type, name, coalesce(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    )
    with engine.connect() as connection:
        return [
            (kind, name, " ".join(text.split()).replace("( ", "(").replace(" )", ")").replace('"', ""))
            for kind, name, text in connection.execute(query)
        ]


def test_a_new_ledger_is_what_the_migrations_make(tmp_path: Path):
    made = open_ledger(tmp_path / "made.sqlite")
    migrated = sa.create_engine(f"sqlite:///{tmp_path / 'migrated.sqlite'}")
    with migrated.connect() as connection:
        migrate(connection)
        assert revision(connection) == HEAD_REVISION
    assert schema(made) == schema(migrated)
    migrated.dispose()


def test_the_head_revision_is_the_newest_migration_and_they_form_one_line(tmp_path: Path):
    engine = open_ledger(tmp_path / "ledger.sqlite")
    with engine.connect() as connection:
        scripts = ScriptDirectory.from_config(alembic_config(connection))
    assert scripts.get_heads() == [HEAD_REVISION]
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert sorted(revisions) == [f"{number:04d}" for number in range(1, len(revisions) + 1)]


def test_the_tables_do_not_drift_from_the_migrations(tmp_path: Path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with engine.connect() as connection:
        migrate(connection)
        command.check(alembic_config(connection))
    engine.dispose()


def test_a_downgrade_to_the_base_leaves_nothing_and_can_be_undone(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    engine = open_ledger(path)
    before = schema(engine)
    with engine.connect() as connection:
        migrate(connection, "base")
    assert [name for _, name, _ in schema(engine)] == ["alembic_version"]
    assert schema(open_ledger(path)) == before


def test_the_names_that_others_rely_on_are_there(tmp_path: Path):
    engine = open_ledger(tmp_path / "ledger.sqlite")
    names = [name for _, name, _ in schema(engine)]
    assert "idx_orders_order_id" in names
    tables = (
        "runs signals intents orders fills postings positions denials portfolio_snapshots candles regimes allocations"
    )
    for table in [*tables.split(), "alerts", "control", "reservations", "adjustments", "externals", "adoptions"]:
        assert table in names
    assert "order_id" in metadata.tables["orders"].columns


def test_making_a_ledger_does_not_load_alembic(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from claire.adapters.store.database import open_ledger;"
        " open_ledger(Path(sys.argv[1])); assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "ledger.sqlite")], check=True)


def test_a_ledger_of_a_newer_version_is_refused_by_writer_and_reader(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    with open_ledger(path).begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerError, match=r"9999.*newer version"):
        open_ledger(path)
    with pytest.raises(LedgerError, match="revision 9999, but this program reads"), read_ledger(path):
        pass


def test_a_ledger_of_an_older_version_is_read_as_it_is_and_migrated_when_a_run_goes_on(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    engine = open_ledger(path)
    with engine.connect() as connection:
        migrate(connection, "0001")
        connection.execute(sa.text(A_RUN))
        connection.execute(sa.text("INSERT INTO control VALUES ('0', 7, 'ACTIVE', 'ada', 'paper', 'lunch', 1)"))
        connection.commit()
        settle(connection)
    before = path.read_bytes()
    with read_ledger(path) as connection:
        assert revision(connection) == HEAD_REVISION
        assert connection.execute(sa.text("SELECT reason FROM control")).scalars().all() == ["lunch"]
        assert connection.execute(sa.text("SELECT count(*) FROM reservations")).scalar() == 0
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.sqlite"]
    with open_ledger(path).connect() as connection:
        assert revision(connection) == HEAD_REVISION
        assert connection.execute(sa.text("SELECT operator, reason FROM control")).all() == [("ada", "lunch")]


def test_a_step_back_keeps_one_reason_for_one_moment(tmp_path: Path):
    engine = open_ledger(tmp_path / "ledger.sqlite")
    with engine.connect() as connection:
        connection.execute(sa.text(A_RUN))
        for reason in ("stale", "gap"):
            connection.execute(
                sa.text("INSERT INTO control VALUES ('0', 7, 'ACTIVE', 'feed', 'paper', :it, 1)"), {"it": reason}
            )
        connection.commit()
        migrate(connection, "0001")
        assert connection.execute(sa.text("SELECT reason FROM control")).scalars().all() == ["gap"]


def test_a_ledger_is_durable_and_checks_its_references(tmp_path: Path):
    with open_ledger(tmp_path / "ledger.sqlite").connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        assert found == ["wal", 2]  # 2: FULL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
