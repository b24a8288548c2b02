"""The public home as code: workflows, updates, owners and protection parse, and say what they must."""

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from tests.support.tree import CHECKOUT, pyproject

GITHUB = CHECKOUT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def load(path: Path) -> dict[Any, Any]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def workflow(name: str) -> dict[Any, Any]:
    return load(GITHUB / "workflows" / f"{name}.yml")


def triggers(document: dict[Any, Any]) -> dict[str, Any]:
    """The `on:` of a workflow; YAML reads that word as true."""
    return {str(key): value for key, value in document[True].items()}


def steps(document: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in document["jobs"].values() for step in job["steps"]]


def commands(document: dict[Any, Any]) -> str:
    return "\n".join(step.get("run", "") for step in steps(document))


def test_the_workflows_are_the_ones_we_mean():
    assert {path.stem for path in WORKFLOWS} == {"fast", "full", "secrets", "audit"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
class TestEveryWorkflow:
    def test_may_only_read_and_ends_in_time(self, path: Path):
        document = load(path)
        assert document["permissions"] == {"contents": "read"}
        assert all(job["timeout-minutes"] <= 60 for job in document["jobs"].values())

    def test_pins_each_action_by_commit_and_tells_the_version(self, path: Path):
        uses = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
        assert uses
        assert not [use for use in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)]

    def test_leaves_no_credentials_in_the_checkout(self, path: Path):
        checkouts = [step for step in steps(load(path)) if step.get("uses", "").startswith("actions/checkout@")]
        assert checkouts
        assert all(step["with"]["persist-credentials"] is False for step in checkouts)

    def test_never_hands_secrets_to_foreign_code(self, path: Path):
        assert "pull_request_target" not in triggers(load(path))


def test_fast_runs_the_readmes_commands_on_both_ends_of_the_range():
    document = workflow("fast")
    assert "pull_request" in triggers(document)
    versions = document["jobs"]["fast"]["strategy"]["matrix"]["python"]
    assert pyproject()["project"]["requires-python"] == f">={versions[0]}"
    assert f"Programming Language :: Python :: {versions[-1]}" == max(
        (line for line in pyproject()["project"]["classifiers"] if ":: Python ::" in line),
        key=lambda line: int(line.split(".")[-1]),
    )
    assert "./dev test" in commands(document)
    assert "./dev check" in commands(document)


def test_full_runs_the_same_script_as_everybody():
    document = workflow("full")
    assert "pull_request" in triggers(document)
    run = next(step for step in steps(document) if step.get("run") == ".ci/run")
    assert run["env"] == {"CLAIRE_REQUIRE_SHARED": "0"}, (
        "the recordings are not public; everywhere else they are demanded"
    )


def test_secrets_are_looked_for_in_the_whole_history():
    document = workflow("secrets")
    assert {"pull_request", "push"} <= set(triggers(document))
    assert steps(document)[0]["with"]["fetch-depth"] == 0
    assert any(step.get("uses", "").startswith("gitleaks/") for step in steps(document))


def test_every_lock_is_audited_on_a_schedule_and_doubt_is_a_failure():
    document = workflow("audit")
    assert triggers(document)["schedule"]
    assert "pip_audit --strict" in commands(document)
    audited = set(document["jobs"]["pip-audit"]["strategy"]["matrix"]["lock"])
    assert audited == {path.stem for path in (CHECKOUT / "requirements").glob("*.lock")}


def test_updates_are_proposed_for_packages_and_actions():
    document = load(GITHUB / "dependabot.yml")
    assert document["version"] == 2
    assert {update["package-ecosystem"] for update in document["updates"]} == {"pip", "github-actions"}


def test_risk_gateway_and_latch_have_owners():
    lines = [line.split() for line in (GITHUB / "CODEOWNERS").read_text(encoding="utf-8").splitlines()]
    rules = {parts[0]: parts[1:] for parts in lines if parts and not parts[0].startswith("#")}
    assert {"/src/claire/stages/risk*", "/src/claire/gateway/", "/src/claire/latch/"} <= set(rules)
    assert all(owners and all(owner.startswith("@") for owner in owners) for owners in rules.values())


def test_a_pull_request_is_asked_for_evidence():
    text = (GITHUB / "pull_request_template.md").read_text(encoding="utf-8")
    assert "## Evidence" in text
    assert {"./dev test", ".ci/run"} <= set(re.findall(r"`([^`]+)`", text))


class TestBranchProtection:
    document: ClassVar = json.loads((GITHUB / "branch-protection.json").read_text(encoding="utf-8"))
    rules: ClassVar = {rule["type"]: rule.get("parameters", {}) for rule in document["rules"]}

    def test_holds_for_everybody_administrators_included(self):
        assert self.document["enforcement"] == "active"
        assert self.document["bypass_actors"] == []
        assert self.document["conditions"]["ref_name"]["include"] == ["~DEFAULT_BRANCH"]

    def test_lets_changes_in_by_reviewed_pull_request_only(self):
        assert self.rules["pull_request"]["required_approving_review_count"] >= 1
        assert self.rules["pull_request"]["require_code_owner_review"] is True
        assert {"deletion", "non_fast_forward"} <= set(self.rules)

    def test_requires_checks_that_exist(self):
        required = {check["context"] for check in self.rules["required_status_checks"]["required_status_checks"]}
        offered = set()
        for path in WORKFLOWS:
            for job in load(path)["jobs"].values():
                versions = job.get("strategy", {}).get("matrix", {}).get("python", [""])
                offered |= {job["name"].replace("${{ matrix.python }}", version) for version in versions}
        assert required == {"fast (3.11)", "fast (3.13)", "full", "gitleaks"}
        assert required <= offered


def test_the_hooks_call_the_projects_own_tools():
    document = load(CHECKOUT / ".pre-commit-config.yaml")
    assert [repository["repo"] for repository in document["repos"]] == ["local"]
    hooks = document["repos"][0]["hooks"]
    assert hooks
    assert all(hook["language"] == "system" and hook["entry"].startswith("./dev ") for hook in hooks)
