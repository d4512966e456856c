"""The deploy files say what is so: paths, settings, commands, images and values exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from yamllint import linter
from yamllint.config import YamlLintConfig

from headrace.config import Worker
from headrace.version import VERSION
from tests.deploy_files import (
    CHART,
    COMPOSE,
    DOCKERFILE,
    ROOT,
    compose,
    healthcheck,
    image_environment,
    instructions,
    is_command,
    is_read,
    last,
    services,
    variables,
)

YAML = sorted(
    [*COMPOSE, *(ROOT / "deploy").rglob("*.yml"), *CHART.glob("*.yaml")], key=lambda one: one.name
)
TEMPLATES = sorted((CHART / "templates").iterdir())
OF_OTHERS = {"alerts.yml", "alerts_test.yml"}
PINNED = re.compile(r"[\w./-]+:(?!latest$)[\w.-]*\d[\w.-]*")
ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
VALUE = re.compile(r"\$?\.Values((?:\.\w+)+)")
SERVICES = dict(services())
OURS = {name: one for name, one in SERVICES.items() if one["image"].startswith("headrace:")}
GRACE_S = Worker().call_timeout_s
"""So long a call may take by default: who is told to end waits for those under way."""


def seconds(text: str) -> float:
    """The seconds of a span as compose files write it."""
    return sum(
        float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
        for number, unit in re.findall(r"(\d+)([smh])", text)
    )


# ---------------------------------------------------------------- Dockerfile


def test_the_image_copies_what_is_there() -> None:
    """Every path that the Dockerfile copies exists, and .dockerignore lets it through."""
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [
        source
        for name, rest in instructions()
        if name == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    ]
    assert copied
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert [source for source in copied if f"!{source}" not in let_in] == []


def test_the_image_does_not_run_as_root() -> None:
    """The last user is a number above 0, which orchestrators can check, and has a name."""
    user = last("USER").partition(":")[0]
    assert int(user) > 0
    assert re.search(rf"useradd .*--uid {user} ", DOCKERFILE.read_text(encoding="utf-8"))
    names = [name for name, _ in instructions()]
    assert names.index("ENTRYPOINT") > names.index("USER")


def test_the_image_installs_by_hash_from_pinned_images() -> None:
    """Packages come by their hashes alone, base images by a full version."""
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert [base for base in bases if not PINNED.fullmatch(base)] == []
    installs = [rest for name, rest in instructions() if name == "RUN" and "pip install" in rest]
    assert installs
    assert [one for one in installs if "--require-hashes" not in one] == []
    python = bases[-1].partition(":")[2].split(".")[:2]
    assert f"python{'.'.join(python)}/site-packages" in DOCKERFILE.read_text(encoding="utf-8")


def test_the_image_starts_headrace_itself() -> None:
    """Its words are in exec form, so that signals arrive, and the command line takes them."""
    entry, words = json.loads(last("ENTRYPOINT")), json.loads(last("CMD"))
    assert entry == ["python", "-m", "headrace"]
    assert is_command(words)
    port = words[words.index("--port") + 1]
    assert last("EXPOSE") == port
    assert f":{port}/readyz" in healthcheck()[-1]
    compile(healthcheck()[-1], "healthcheck", "exec")


def test_the_image_sets_what_is_read() -> None:
    """Each setting of the image is one, and its home is the volume."""
    told = image_environment()
    assert [name for name in told if name.startswith("HEADRACE_") and not is_read(name)] == []
    assert json.loads(last("VOLUME")) == [told["HEADRACE_HOME"]]
    assert last("WORKDIR") == told["HEADRACE_HOME"]


def test_what_looks_can_say_no() -> None:
    """The checks of commands and settings refuse what there is not."""
    assert not is_command(["serve", "--no-such-flag"])
    assert not is_command(["no-such-command"])
    assert not is_read("HEADRACE_NO_SUCH_SETTING")
    assert not is_read("HEADRACE_WORKER__NO_SUCH_SETTING")


# ---------------------------------------------------------------- compose


@pytest.mark.parametrize(
    "path", [path for path in YAML if path.name not in OF_OTHERS], ids=lambda one: str(one.name)
)
def test_yaml_is_tidy(path: Path) -> None:
    """No complaint of yamllint."""
    config = YamlLintConfig(file=str(ROOT / ".yamllint.yaml"))
    found = [str(one) for one in linter.run(path.read_text(encoding="utf-8"), config)]
    assert found == []


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    """No image moves under a tag; ours has the version of this release."""
    image = SERVICES[name]["image"]
    assert PINNED.fullmatch(image)
    if name in OURS:
        assert image == f"headrace:{VERSION}"


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_told_what_headrace_reads(name: str) -> None:
    """Settings, keys of providers and the command exist, and the store gets what it needs."""
    told, sources = variables(OURS[name]), _sources()
    ours = [one for one in told if one.startswith("HEADRACE_")]
    assert [one for one in ours if not is_read(one)] == []
    others = [one for one in told if one not in ours and not one.startswith("AWS_")]
    assert [one for one in others if f'"{one}"' not in sources] == []
    if str(told.get("HEADRACE_BLOB_URL", "")).startswith("s3://"):
        needed = {"AWS_ENDPOINT", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
        assert needed <= set(told)
    assert is_command(OURS[name]["command"])


def _sources() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_locked_down_and_drain(name: str) -> None:
    """Read-only, without rights, restarted; who works has longer to end than a call may take."""
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    if "--no-worker" not in service["command"]:
        assert seconds(service["stop_grace_period"]) > GRACE_S


@pytest.mark.parametrize("path", COMPOSE, ids=lambda one: str(one.name))
def test_compose_files_name_what_is_there(path: Path) -> None:
    """Services waited for, volumes and files exist; ports are open to this machine only."""
    told = compose(path)
    for name, service in told["services"].items():
        assert set(service.get("depends_on", ())) <= set(told["services"]), name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            there = (
                (ROOT / source).exists() if source.startswith(".") else source in told["volumes"]
            )
            assert there, volume
        assert [one for one in service.get("ports", []) if not one.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("path", COMPOSE, ids=lambda one: str(one.name))
def test_passwords_have_no_default(path: Path) -> None:
    """A password is the operator's: without one nothing starts."""
    given = re.findall(r"\$\{(\w*PASSWORD\w*)([^}]*)\}", path.read_text(encoding="utf-8"))
    assert [name for name, rest in given if not rest.startswith(":?")] == []
    for name, service in compose(path)["services"].items():
        for variable, value in variables(service).items():
            if "PASSWORD" in variable or "SECRET" in variable:
                assert value is None or value.startswith("${"), f"{name}: {variable}"


@pytest.mark.parametrize("name", OURS)
def test_who_has_no_home_that_lasts_is_given_the_master_key(name: str) -> None:
    """What one process seals, a webhook's secret as well, another opens, also after a restart."""
    in_memory = [one.partition(":")[0] for one in OURS[name].get("tmpfs", [])]
    if image_environment()["HEADRACE_HOME"] in in_memory:
        given = variables(OURS[name])["HEADRACE_MASTER_KEY"]
        assert (given or "").startswith("${HEADRACE_MASTER_KEY:?")


def test_what_watches_finds_whom_it_watches() -> None:
    """Prometheus asks a service at its port, and Grafana asks Prometheus."""
    told = compose(ROOT / "compose.scale.yaml")["services"]
    scraped = _yaml("deploy/prometheus/prometheus.yml")["scrape_configs"]
    for job in scraped:
        fixed = [one for config in job.get("static_configs", []) for one in config["targets"]]
        found = [
            f"{name}:{config['port']}"
            for config in job.get("dns_sd_configs", [])
            for name in config["names"]
        ]
        assert fixed or found, job
        for target in fixed + found:
            service, port = target.split(":")
            command = told[service]["command"]
            assert port in command, target
    source = _yaml("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    assert source["url"].removeprefix("http://").split(":")[0] in told
    shown = _yaml("deploy/grafana/provisioning/dashboards/headrace.yml")["providers"][0]
    mounts = [one.split(":")[1] for one in told["grafana"]["volumes"]]
    assert shown["options"]["path"] in mounts


def _yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


# ---------------------------------------------------------------- Helm


def values() -> dict[str, Any]:
    """The chart's values."""
    told: dict[str, Any] = _yaml("deploy/helm/headrace/values.yaml")
    return told


def test_the_chart_is_of_this_release() -> None:
    """Chart, image and package have one version."""
    chart = _yaml("deploy/helm/headrace/Chart.yaml")
    assert chart["appVersion"] == VERSION


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda one: str(one.name))
def test_templates_are_whole(path: Path) -> None:
    """Braces and blocks are closed, values that are named are in values.yaml, names are defined."""
    text = path.read_text(encoding="utf-8")
    actions = ACTION.findall(text)
    assert text.count("{{") == text.count("}}") == len(actions)
    words = [action.split()[0] for action in actions]
    assert sum(one in ("if", "range", "with", "define") for one in words) == words.count("end")
    told = values()
    missing = [name for name in VALUE.findall(text) if not _is_in(told, name.split(".")[1:])]
    assert missing == []
    defined = re.findall(
        r'define "([\w.]+)"', (CHART / "templates" / "_names.tpl").read_text(encoding="utf-8")
    )
    assert set(re.findall(r'include "([\w.]+)"', text)) <= set(defined)


def _is_in(told: Any, names: list[str]) -> bool:
    for name in names:
        if not isinstance(told, dict) or name not in told:
            return False
        told = told[name]
    return True


def test_every_value_is_used() -> None:
    """A value that no template reads would be a promise that is not kept."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in TEMPLATES)
    read = {name.split(".")[1] for name in VALUE.findall(text)}
    assert set(values()) <= read
    for room in ("server", "worker", "autoscaling", "networkPolicy", "ingress", "service"):
        used = {name.split(".")[2] for name in VALUE.findall(text) if name.split(".")[1] == room}
        assert set(values()[room]) <= used, room


def test_pods_are_locked_down_and_drain() -> None:
    """Not root, nothing written but to volumes; longer to end than a call may take."""
    told = values()
    user = last("USER").partition(":")[0]
    assert told["podSecurityContext"]["runAsNonRoot"] is True
    assert str(told["podSecurityContext"]["runAsUser"]) == user
    assert told["containerSecurityContext"]["readOnlyRootFilesystem"] is True
    assert told["containerSecurityContext"]["capabilities"]["drop"] == ["ALL"]
    for room in ("server", "worker"):
        assert told[room]["terminationGracePeriodSeconds"] > GRACE_S


def test_pods_are_told_what_headrace_reads() -> None:
    """Variables and commands of the templates exist, and probes ask where it answers."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in TEMPLATES)
    named = set(re.findall(r"HEADRACE_[A-Z_]+[A-Z]", text))
    assert named
    assert [one for one in named if not is_read(one)] == []
    for args in re.findall(r"^ +args: (\[.*\])$", text, flags=re.MULTILINE):
        for choice in ("--worker", "--no-worker"):
            words = json.loads(re.sub(r"\{\{.*?\}\}", f'"{choice}"', args))
            assert is_command(words), words
    assert set(re.findall(r"httpGet: \{path: (\S+),", text)) == {"/healthz", "/readyz"}


# ---------------------------------------------------------------- the page

PAGES = [ROOT / "docs" / "deploy.md", ROOT / "docs" / "load.md", ROOT / "docs" / "guarantees.md"]


@pytest.mark.parametrize(
    "path", [path for path in PAGES if path.exists()], ids=lambda one: one.name
)
def test_the_page_names_settings_and_commands_that_exist(path: Path) -> None:
    """Every HEADRACE_ variable of the page is read, every command of its blocks is taken."""
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(r"HEADRACE_[A-Z_]+[A-Z]", text))
    assert [one for one in named if not is_read(one)] == []
    lines = re.findall(r"^headrace ([^#\n|&<]+)", text, flags=re.MULTILINE)
    lines += re.findall(r"python -m headrace ([^#\n|&<`]+)", text)
    assert [one for one in lines if not is_command(one.split())] == []
