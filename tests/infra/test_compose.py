"""The compose files: they parse, name every stage, and set only what exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from analytics.settings import AnalyticsSettings
from delivery.settings import DeliverySettings
from infra.servers.minio import SOURCE, VERSION
from infra.stages import STAGES as OF_JOBS
from ingest.settings import IngestSettings
from moderation.settings import ModerationSettings
from relay.settings import Settings
from relay.wechat import WeChatSettings
from synth.settings import SynthSettings

STAGES = (*OF_JOBS, "notify")
INFRA = Path(__file__).parents[2] / "infra"
ALL_SETTINGS: tuple[type[BaseSettings], ...] = (
    Settings,
    IngestSettings,
    ModerationSettings,
    SynthSettings,
    DeliverySettings,
    AnalyticsSettings,
    WeChatSettings,
)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((INFRA / "compose.yaml").read_text())
    return found


def known() -> set[str]:
    """Every variable that some setting reads."""
    return {
        f"{settings.model_config['env_prefix']}{name}".upper()
        for settings in ALL_SETTINGS
        for name in settings.model_fields
    }


def test_there_is_one_process_per_stage(compose: dict[str, Any]) -> None:
    running = {
        name: service["command"]
        for name, service in compose["services"].items()
        if service.get("command", [""])[0] == "run"
    }
    assert running == {name: ["run", name] for name in (*STAGES, "analytics")}


def test_only_settings_that_exist_are_set(compose: dict[str, Any]) -> None:
    used = {
        name
        for service in compose["services"].values()
        for name in service.get("environment", {})
        if name.startswith("VOXRELAY_")
    }
    assert used
    assert used <= known()


def test_only_settings_that_exist_are_in_the_images() -> None:
    text = (INFRA / "images" / "voxrelay.Dockerfile").read_text()
    assert set(re.findall(r"(VOXRELAY_\w+)=", text)) - {"VOXRELAY_TORCH"} <= known()


def test_the_settings_of_a_stage_are_accepted(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in compose["services"]["ingest"]["environment"].items():
        monkeypatch.setenv(name, defaults(value))
    for settings in ALL_SETTINGS:
        settings()
    assert not Settings().embedded


def defaults(value: str) -> str:
    """`value` as compose fills it in, with `x` where the operator has to say something."""
    value = re.sub(r"\$\{\w+:\?[^}]*\}", "x", value)
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def test_every_variable_the_operator_fills_in_is_in_the_example() -> None:
    wanted = set(re.findall(r"\$\{(\w+):\?", (INFRA / "compose.yaml").read_text()))
    example = (INFRA / "compose.env.example").read_text()
    assert wanted == set(re.findall(r"^(\w+)=$", example, re.MULTILINE))


def test_everything_waits_for_what_it_needs(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other in service.get("depends_on", {}):
            assert other in services, f"{name} waits for {other}"
    for server in services["setup"]["depends_on"]:
        assert services[server]["healthcheck"]["test"]
    for stage in STAGES:
        assert services[stage]["depends_on"]["setup"]["condition"].endswith("successfully")


def test_every_stage_is_asked_for_its_figures(compose: dict[str, Any]) -> None:
    asked = yaml.safe_load((INFRA / "prometheus.yaml").read_text())
    stages, figures = asked["scrape_configs"][0]["static_configs"]
    port = compose["x-settings"]["VOXRELAY_METRICS_PORT"]
    assert stages["targets"] == [f"{stage}:{port}" for stage in STAGES]
    assert figures["targets"] == [f"analytics:{AnalyticsSettings().port}"]


def test_every_volume_is_declared(compose: dict[str, Any]) -> None:
    mounted = {
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
        if not volume.startswith(".")
    }
    assert mounted == set(compose["volumes"])


def test_what_was_never_run_says_so() -> None:
    for file in [*INFRA.glob("compose*.yaml"), *INFRA.glob("images/*Dockerfile")]:
        assert "not yet run" in file.read_text().lower(), file


def test_the_image_builds_the_same_minio_as_the_tests() -> None:
    assert f"{SOURCE}@{VERSION}" in (INFRA / "images" / "s3.Dockerfile").read_text()


def test_the_gpu_overlay_changes_stages_that_exist(compose: dict[str, Any]) -> None:
    overlay = yaml.safe_load((INFRA / "compose.gpu.yaml").read_text())
    assert set(overlay["services"]) <= set(compose["services"])
    text = (INFRA / "images" / "voxrelay.Dockerfile").read_text()
    for service in overlay["services"].values():
        assert re.search(rf" AS {service['build']['target']}$", text, re.MULTILINE)
