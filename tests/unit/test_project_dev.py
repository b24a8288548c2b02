"""The project's own tools do what the documents say: `./dev`, its check, evidence files, and which tests are collected where."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tree import CHECKOUT
from tools import check, evidence, programs


def dev(*arguments: str, cwd: Path = CHECKOUT, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(CHECKOUT / "dev"), *arguments],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit that the tools take for the checkout."""
    for command in (
        ["init", "-q"],
        ["-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    for module in (check, evidence, programs):
        monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    return tmp_path


class TestDev:
    def test_help_names_every_command(self):
        text = (CHECKOUT / "dev").read_text(encoding="utf-8")
        table = text[text.index("case $command in") :]
        commands = {
            name
            for line in re.findall(r"^  ([a-z| -]+)\)", table, re.MULTILINE)
            for name in re.findall(r"[a-z-]+", line)
        }
        inner = {"sync-locked", "lock-locked", "guests-locked", "-h", "--help"}
        shown = set(re.findall(r"^  ([a-z]+) ", dev("help").stdout, re.MULTILINE))
        assert shown == commands - inner

    def test_an_unknown_command_is_refused_with_the_way_on(self):
        done = dev("backtest")
        assert done.returncode == 2
        assert "./dev claire backtest" in done.stderr

    def test_it_works_from_any_folder(self, tmp_path: Path):
        done = dev("python", "-c", "import os, claire; print(os.getcwd(), claire.__version__)", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(str(tmp_path.resolve()))

    def test_an_old_python_is_refused_by_its_name(self, tmp_path: Path):
        old = tmp_path / "python3"
        old.write_text("#!/bin/sh\nexit 1\n")
        old.chmod(0o755)
        done = dev("sync", DEV_PYTHON=str(old), DEV_VENV=str(tmp_path / "venv"))
        assert done.returncode == 2
        assert f"DEV_PYTHON={old}" in done.stderr
        assert "3.11" in done.stderr

    def test_a_current_environment_is_left_alone(self):
        assert dev("sync").stderr == ""

    def test_two_at_once_build_one_sound_environment(self, tmp_path: Path):
        command = [str(CHECKOUT / "dev"), "python", "-c", "import claire, pytest, msgspec; print('sound')"]
        environment = os.environ | {"DEV_VENV": str(tmp_path / "venv"), "DEV_PYTHON": sys.executable}
        both = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        said = [process.communicate(timeout=300) for process in both]
        assert [out for out, _ in said] == ["sound\n", "sound\n"], said
        assert sum("dev: making" in err for _, err in said) == 1

    def test_a_build_that_was_cut_off_is_begun_anew(self, tmp_path: Path):
        venv = tmp_path / "venv"
        (venv / "bin").mkdir(parents=True)
        (venv / "bin" / "python").symlink_to(sys.executable)
        (venv / "pyvenv.cfg").touch()
        (venv / "left-over").touch()
        done = dev("python", "-c", "import claire; print('sound')", DEV_VENV=str(venv), DEV_PYTHON=sys.executable)
        assert done.stdout == "sound\n", done.stderr
        assert not (venv / "left-over").exists()

    def test_a_folder_that_is_no_environment_is_not_cleared(self, tmp_path: Path):
        (tmp_path / "letters").mkdir()
        (tmp_path / "letters" / "dear").touch()
        done = dev("sync", DEV_VENV=str(tmp_path / "letters"), DEV_PYTHON=sys.executable)
        assert done.returncode == 2
        assert "DEV_VENV" in done.stderr
        assert (tmp_path / "letters" / "dear").exists()


class TestCheck:
    def test_a_planted_secret_is_found_and_a_marked_one_is_not(self, repository: Path):
        shutil.copy(CHECKOUT / check.BASELINE, repository)
        key = "AKIA" + "Z7QX3MNB5TRW9KLP"
        (repository / "settings.py").write_text(f'key = "{key}"\n')
        with pytest.raises(check.Failed, match=r"settings\.py:1"):
            check.secrets()
        (repository / "settings.py").write_text(f'key = "{key}"  # pragma: allowlist secret\n')
        assert check.secrets().endswith("files")

    def test_a_lock_with_an_address_is_refused(self, repository: Path):
        (repository / "requirements").mkdir()
        lock = repository / "requirements" / "dev.lock"
        lock.write_text("msgspec==0.22.0 --hash=sha256:00\n")
        assert check.locks() == "1 locks"
        lock.write_text("--index-url https://example.org/simple\n")
        with pytest.raises(check.Failed, match=r"dev\.lock"):
            check.locks()

    def test_a_uv_lock_anywhere_is_refused(self, repository: Path):
        (repository / "deeper").mkdir()
        (repository / "deeper" / "uv.lock").touch()
        with pytest.raises(check.Failed, match=r"deeper/uv\.lock"):
            check.locks()

    def test_a_broken_shell_script_is_refused_where_shellcheck_is(
        self, repository: Path, monkeypatch: pytest.MonkeyPatch
    ):
        binaries = repository / "bin"
        binaries.mkdir()
        (binaries / "shellcheck").write_text('#!/usr/bin/env python3\nimport sys; sys.exit("judged " + sys.argv[-1])\n')
        (binaries / "shellcheck").chmod(0o755)
        monkeypatch.setenv("PATH", f"{binaries}:{os.environ['PATH']}")
        (repository / "script").write_text("#!/bin/sh\necho $1\n")
        with pytest.raises(check.Failed, match="judged script"):
            check.shell_scripts()

    def test_a_missing_shellcheck_is_said_and_in_ci_a_failure(self, repository: Path, monkeypatch: pytest.MonkeyPatch):
        git = shutil.which("git")
        assert git is not None
        (repository / "bin").mkdir()
        (repository / "bin" / "git").symlink_to(git)
        monkeypatch.setenv("PATH", str(repository / "bin"))
        monkeypatch.delenv("DEV_REQUIRE_ALL", raising=False)
        assert "not run" in check.shell_scripts()
        monkeypatch.setenv("DEV_REQUIRE_ALL", "1")
        with pytest.raises(check.Failed, match="shellcheck is not installed"):
            check.shell_scripts()

    def test_an_unknown_step_is_refused(self, capsys: pytest.CaptureFixture[str]):
        assert check.main(["spelling"]) == 2
        assert "spelling" in capsys.readouterr().err


class TestEvidence:
    @pytest.fixture
    def folder(self, repository: Path) -> Path:
        (repository / "bench" / "evidence").mkdir(parents=True)
        return repository / "bench" / "evidence"

    def test_the_figures_are_kept_with_what_they_depend_on(self, folder: Path, repository: Path):
        (folder / "speed.py").write_text("import json; print(json.dumps({'trades_per_s': 7}))\n")
        evidence.main(["speed"])
        kept = json.loads((repository / "docs" / "evidence" / "speed.json").read_text())
        assert kept["figures"] == {"trades_per_s": 7}
        assert re.fullmatch(r"[0-9a-f]{40}", kept["commit"])
        assert kept["dirty"] is False
        assert kept["duration_s"] >= 0
        assert kept["machine"]["cores"] >= 1
        assert kept["machine"]["memory_mib"] > 0

    @pytest.mark.parametrize("program", ["print('fast')", "print([1])", "print('{}'); raise SystemExit(1)"])
    def test_without_figures_the_old_evidence_stays(self, folder: Path, repository: Path, program: str):
        kept = repository / "docs" / "evidence" / "speed.json"
        kept.parent.mkdir(parents=True)
        kept.write_text("old")
        (folder / "speed.py").write_text(program)
        with pytest.raises(SystemExit, match="evidence: "):
            evidence.main(["speed"])
        assert kept.read_text() == "old"

    def test_an_unknown_name_lists_the_known_ones(self, folder: Path, capsys: pytest.CaptureFixture[str]):
        (folder / "speed.py").touch()
        with pytest.raises(SystemExit) as ended:
            evidence.main(["sped"])
        assert ended.value.code == 2
        assert "speed" in capsys.readouterr().err


class TestCollection:
    """Which tests are collected where, tried on a small tree with the real conftest."""

    @pytest.fixture
    def small(self, tmp_path: Path) -> Path:
        for name in ("unit", "recorded", "ci"):
            (tmp_path / "checkout" / "tests" / name).mkdir(parents=True)
            (tmp_path / "checkout" / "tests" / name / f"test_{name}.py").write_text(
                f"def test_{name}({'shared' if name == 'recorded' else ''}): pass\n"
            )
        shutil.copy(CHECKOUT / "tests" / "conftest.py", tmp_path / "checkout" / "tests")
        shutil.copy(CHECKOUT / "pyproject.toml", tmp_path / "checkout")
        return tmp_path / "checkout"

    def run(self, small: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("CLAIRE_", "PYTEST_", "COV"))
        }
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-v"],
            cwd=small,
            env=inherited | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def test_without_recordings_their_tests_are_left_out_and_the_summary_says_so_last(self, small: Path):
        done = self.run(small)
        assert done.returncode == 0, done.stdout
        assert "test_unit PASSED" in done.stdout
        assert "test_recorded" not in done.stdout
        assert "skipped" not in done.stdout
        *_, said, closing = done.stdout.strip().splitlines()
        assert said.startswith("Not collected: tests/recorded")
        assert "CLAIRE_SHARED=" in said
        assert "1 passed" in closing

    def test_recordings_beside_the_checkout_are_found(self, small: Path):
        (small.parent / "shared" / "data").mkdir(parents=True)
        done = self.run(small)
        assert "test_recorded PASSED" in done.stdout
        assert "Not collected" not in done.stdout

    def test_recordings_elsewhere_are_named_by_a_variable(self, small: Path, tmp_path: Path):
        (tmp_path / "elsewhere" / "data").mkdir(parents=True)
        assert "test_recorded PASSED" in self.run(small, CLAIRE_SHARED=str(tmp_path / "elsewhere")).stdout

    def test_where_recordings_are_demanded_their_absence_is_an_error(self, small: Path):
        done = self.run(small, CLAIRE_REQUIRE_SHARED="1")
        assert done.returncode != 0
        assert "CLAIRE_REQUIRE_SHARED=1" in done.stdout + done.stderr

    def test_the_ci_tier_is_collected_only_where_it_is_asked_for(self, small: Path):
        assert "test_ci" not in self.run(small).stdout
        assert "test_ci PASSED" in self.run(small, CLAIRE_TIER="ci").stdout

    def test_an_unknown_tier_is_an_error(self, small: Path):
        done = self.run(small, CLAIRE_TIER="slow")
        assert done.returncode != 0
        assert "no such tier" in done.stdout + done.stderr

    def test_a_warning_fails_a_test(self, small: Path):
        (small / "tests" / "unit" / "test_unit.py").write_text(
            "import warnings\ndef test_unit(): warnings.warn('old', DeprecationWarning)\n"
        )
        assert "DeprecationWarning" in self.run(small).stdout

    def test_an_unknown_marker_is_an_error(self, small: Path):
        (small / "tests" / "unit" / "test_unit.py").write_text(
            "import pytest\n@pytest.mark.slwo\ndef test_unit(): pass\n"
        )
        assert self.run(small).returncode != 0
