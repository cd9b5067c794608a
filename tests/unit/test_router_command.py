"""``promptyard router``: what it prints, what it writes, its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from promptyard.cli.app import build_app
from promptyard_worker import cli
from promptyard_worker.routing import load_router
from tests.router_files import GOOD, written

FIXTURE = Path(__file__).parents[1] / "fixtures" / "legacy_router.yaml"


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder and an environment without a router file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROMPTYARD_ROUTER", raising=False)


class Said:
    """What a command said."""

    def __init__(self, *arguments: str) -> None:
        result = CliRunner().invoke(_app(), ["router", *arguments])
        self.code = result.exit_code
        self.out = result.stdout
        self.err = result.stderr


def _app() -> typer.Typer:
    """With the worker's commands, installed or only on the path."""
    app = build_app()
    if not any(group.name == "router" for group in app.registered_groups):
        cli.register(app)
    return app


def test_check_sums_a_good_file_up(tmp_path: Path) -> None:
    """Policy, stages, encoder, models, routes with their chains; warnings do not fail."""
    path = written(tmp_path, GOOD)
    said = Said("check", "router.yaml")
    assert (said.code, said.err) == (0, "")
    warnings, _, summary = said.out.partition("router.yaml: OK, 4 warnings\n")
    assert warnings.splitlines()[0] == (
        "router.yaml:8: warning: routes[0].utterances: the route 'hard' has 2 utterances. "
        "Ten or more work well."
    )
    assert summary.splitlines() == [
        f"  policy   {load_router(path).policy_version}",
        "  stages   semantic -> default (flash)",
        "  encoder  static",
        "  models   big, mid",
        "  routes   hard -> pro: big, then mid",
        "           chat -> flash: mid",
    ]


def test_check_shows_every_problem_and_fails(tmp_path: Path) -> None:
    """However many; file and line first, as editors want it."""
    written(tmp_path, GOOD.replace("[Hello.]", f"[{', '.join(map(str, range(12)))}]"))
    said = Said("check", "router.yaml")
    assert (said.code, said.err) == (2, "")
    *problems, last = said.out.splitlines()
    assert len(problems) == 12
    assert all(one.startswith("router.yaml:14: routes[1].utterances[") for one in problems)
    assert last == "router.yaml: 12 problems"


def test_check_gives_the_same_as_json(tmp_path: Path) -> None:
    """Problems, warnings, policy; the exit code too."""
    written(tmp_path, GOOD)
    good = json.loads(Said("check", "router.yaml", "--json").out)
    assert (good["ok"], good["format"], good["problems"]) == (True, "promptyard", [])
    assert good["policy"]["stages"] == ["semantic"]
    assert good["policy"]["routes"][0] == {
        "route": "hard",
        "tier": "pro",
        "models": ["big", "mid"],
        "utterances": 2,
    }
    written(tmp_path, GOOD.replace("fallback", "fallbak"))
    said = Said("check", "router.yaml", "--json")
    bad = json.loads(said.out)
    assert (said.code, bad["ok"], bad["policy"]) == (2, False, None)
    (problem,) = bad["problems"]
    assert (problem["line"], problem["key"]) == (7, "routes[0].fallbak")
    assert problem["what"] == "unknown key."
    assert problem["remedy"].startswith("Did you mean 'fallback'?")


def test_check_without_a_file_takes_the_one_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The named one, else that of the folder, else the packaged one."""
    assert ": OK\n" in Said("check").out
    written(tmp_path, "version: 1\n")
    assert Said("check").out.startswith("router.yaml:1: default: is missing.")
    other = tmp_path / "other.yaml"
    other.write_text(GOOD)
    monkeypatch.setenv("PROMPTYARD_ROUTER", str(other))
    assert f"{other}: OK" in Said("check").out


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """As every error."""
    for command in ("check", "migrate"):
        said = Said(command, "gone.yaml")
        assert (said.code, said.out) == (2, "")
        assert said.err == ("promptyard: gone.yaml: cannot be read: No such file or directory.\n")


def test_migrate_writes_ours(tmp_path: Path) -> None:
    """To router.yaml, where Promptyard looks; with what was decided, in comments."""
    said = Said("migrate", str(FIXTURE))
    assert (said.code, said.out) == (0, "")
    assert said.err.startswith("router.yaml is written;")
    text = Path("router.yaml").read_text()
    assert "# Was `encoder_type: google`." in text
    assert "\n    # owner: research desk\n" in text
    assert "#   routes[1].function_schemas: function schemas are not used" in text
    assert load_router(Path("router.yaml")).model_dump() == load_router(FIXTURE).model_dump()
    assert Said("check").out.startswith("router.yaml: OK\n")
    assert (
        f"{FIXTURE}: OK, 3 warnings, a file of semantic-router 0.x\n"
        in Said("check", str(FIXTURE)).out
    )
    assert [path.name for path in tmp_path.iterdir()] == ["router.yaml"]


def test_migrate_writes_over_nothing_unless_told_to() -> None:
    """Least of all over the file it reads."""
    Path("router.yaml").write_text(FIXTURE.read_text())
    said = Said("migrate", "router.yaml")
    assert said.code == 2
    assert "router.yaml is there already: name another file by -o, or" in said.err
    assert Path("router.yaml").read_text() == FIXTURE.read_text()
    assert Said("migrate", "router.yaml", "-o", "new.yaml").code == 0
    assert Said("migrate", "router.yaml", "--force").code == 0
    assert Path("router.yaml").read_text() == Path("new.yaml").read_text().replace(
        "new.yaml", "router.yaml"
    )


def test_migrate_prints_for_a_dash() -> None:
    """And writes nothing."""
    said = Said("migrate", str(FIXTURE), "-o", "-")
    assert said.code == 0
    assert said.out.startswith("# The routing policy of Promptyard, written by")
    assert not Path("router.yaml").exists()


def test_migrate_needs_a_file_of_0x_that_can_be_used(tmp_path: Path) -> None:
    """Ours needs no migration; problems come as they do from check."""
    path = written(tmp_path, GOOD)
    assert "is in Promptyard's format already" in Said("migrate", str(path), "-o", "a").err
    bad = FIXTURE.read_text().replace("google", "googel")
    Path("bad.yaml").write_text(bad)
    said = Said("migrate", "bad.yaml", "-o", "a.yaml")
    assert said.code == 2
    assert said.err.startswith("promptyard: bad.yaml:2: encoder_type: unknown encoder 'googel'.")
    assert "no/a.yaml cannot be written" in Said("migrate", str(FIXTURE), "-o", "no/a.yaml").err
    assert not Path("a.yaml").exists()
