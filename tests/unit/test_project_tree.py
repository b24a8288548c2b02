"""What holds for every file of the tree, and what the documents and the metadata must agree on."""

import re
import subprocess
from pathlib import Path

import pytest

import claire
from tests.support.tree import CHECKOUT, PACKAGE, pyproject
from tools.check import git_files

FILES = git_files()
LINES_AT_MOST = 600

# Built from parts, so that this file does not hold what it looks for.
REGISTRIES = ["py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs", "deb." + "debian.org", "crates" + ".io"]
MACHINES = ["/wo" + "rk/", "/ro" + "ot/", "/tmp/" + "claire"]  # noqa: S108 - a needle, not a path


def text_of(name: str) -> str | None:
    """The file's text; None if it is not text."""
    try:
        return (CHECKOUT / name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def found_in(text: str, needles: list[str]) -> list[str]:
    return [
        f"line {number}: {needle}"
        for number, line in enumerate(text.splitlines(), 1)
        for needle in needles
        if needle in line
    ]


def test_the_needles_are_found_where_they_are():
    assert found_in("nothing\nhttps://" + REGISTRIES[0] + "/simple", REGISTRIES) == ["line 2: " + REGISTRIES[0]]


@pytest.mark.parametrize("needles", [REGISTRIES, MACHINES], ids=["package registry", "path of a machine"])
def test_no_file_names_a(needles: list[str]):
    found = {name: found_in(text, needles) for name in FILES if (text := text_of(name)) is not None}
    assert not {name: places for name, places in found.items() if places}


def test_no_source_or_test_file_is_ignored_by_git():
    folders = [CHECKOUT / name for name in ("src", "tests", "tools", "bench", "docs", ".github", ".ci")]
    paths = [
        str(path.relative_to(CHECKOUT))
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".partial"
    ]
    assert len(paths) > 10
    command = ["git", "check-ignore", "--no-index", "--stdin"]
    done = subprocess.run(command, cwd=CHECKOUT, input="\n".join(paths), capture_output=True, text=True, check=False)
    assert done.returncode == 1, f".gitignore hides: {done.stdout}"  # 1: none of them is ignored


@pytest.mark.parametrize(
    "name", ["runs/x/journal.bin", ".venv/x", ".venv-3.13/x", ".tools/x", ".cache/x", ".env", "secrets/key"]
)
def test_what_is_made_here_is_ignored_by_git(name: str):
    command = ["git", "check-ignore", "--no-index", "--quiet", name]
    assert subprocess.run(command, cwd=CHECKOUT, check=False).returncode == 0


def test_no_python_file_is_longer_than_a_reader_can_hold():
    lengths = {name: len((text_of(name) or "").splitlines()) for name in FILES if name.endswith(".py")}
    assert not {name: lines for name, lines in lengths.items() if lines > LINES_AT_MOST}


def test_scripts_are_executable():
    scripts = [name for name in FILES if (text_of(name) or "").startswith("#!")]
    assert {"dev", ".ci/run"} <= set(scripts)
    assert not [name for name in scripts if not (CHECKOUT / name).stat().st_mode & 0o111]


def test_the_version_is_one_in_all_places():
    version = pyproject()["project"]["version"]
    assert claire.__version__ == version
    released = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\]", (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert released, "CHANGELOG.md has no section for a version"
    assert released[0] == version


def test_the_licence_is_the_one_named():
    assert pyproject()["project"]["license"] == "Apache-2.0"
    text = (CHECKOUT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_package_tells_type_checkers_that_it_is_typed():
    assert (PACKAGE / "py.typed").is_file()


def requirements() -> list[str]:
    """The names of all direct dependencies, of the core, the extra and the development group."""
    document = pyproject()
    wanted = [
        *document["project"]["dependencies"],
        *(name for extra in document["project"]["optional-dependencies"].values() for name in extra),
        *(name for group in document["dependency-groups"].values() for name in group),
    ]
    return [re.split(r"[<>=\[ ]", requirement)[0] for requirement in wanted]


@pytest.mark.parametrize("name", requirements())
def test_every_dependency_has_its_reason_written_down(name: str):
    assert f"`{name}`" in (CHECKOUT / "docs" / "adr" / "0002-dependencies.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", requirements())
def test_every_dependency_is_locked_with_its_hashes(name: str):
    lock = (CHECKOUT / "requirements" / "dev.lock").read_text(encoding="utf-8")
    assert re.search(rf"^{re.escape(name.replace('_', '-'))}==\S+.*\\\n    --hash=sha256:", lock, re.MULTILINE)


def test_what_is_deployed_is_what_is_tested():
    pins = {
        lock: set(
            re.findall(
                r"^([a-z0-9-]+==[^\s;]+)", (CHECKOUT / "requirements" / lock).read_text(encoding="utf-8"), re.MULTILINE
            )
        )
        for lock in ("runtime.lock", "dev.lock")
    }
    assert pins["runtime.lock"]
    assert pins["runtime.lock"] <= pins["dev.lock"]


def test_decisions_are_numbered_without_gaps():
    numbers = sorted(int(path.name[:4]) for path in (CHECKOUT / "docs" / "adr").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def relative_links(path: Path) -> list[str]:
    """Targets of the Markdown links in a file that point into the tree."""
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    return [target for target in targets if "://" not in target and not target.startswith("mailto:")]


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".md")])
def test_links_between_documents_lead_somewhere(name: str):
    path = CHECKOUT / name
    assert not [target for target in relative_links(path) if not (path.parent / target).exists()]
