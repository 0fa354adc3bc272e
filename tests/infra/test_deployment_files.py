"""What a platform is deployed and watched with, held against the tools that will read it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import infra
from infra.settings import Settings
from streams.cli import load

INFRA = Path(infra.__file__).parent
MANIFESTS = sorted((INFRA / "kubernetes").glob("*.yaml"))
OBJECTS = [(path.name, each) for path in MANIFESTS for each in yaml.safe_load_all(path.open())]
WORKLOADS = [each for _, each in OBJECTS if each["kind"] == "Deployment"]
PODS = [
    (each["metadata"]["name"], template["template"]["spec"])
    for _, each in OBJECTS
    if "template" in (template := each.get("spec", {}).get("jobTemplate", each).get("spec", {}))
]
SECRETS = {"SPRINGTIDE_CLICKHOUSE_PASSWORD": "x", "GF_SECURITY_ADMIN_PASSWORD": "y"}


def run(*command: str | Path, folder: Path = INFRA, **environment: str) -> str:
    """The command's output; fails with it where the command does."""
    found = shutil.which(command[0])
    if found is None:
        reason = f"no {command[0]}: apt-get install prometheus prometheus-alertmanager"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    ended = subprocess.run(
        [found, *command[1:]], check=False, capture_output=True, text=True, cwd=folder,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def understood(*words: str) -> list[Any]:
    """The contexts of the commands, outermost first; the command line's own error otherwise."""
    command, rest, found = load(words[0]), list(words[1:]), []
    while True:
        found.append(command.make_context(words[0], rest))
        if not hasattr(command, "resolve_command"):
            return found
        _, command, rest = command.resolve_command(
            found[-1], [*found[-1]._protected_args, *found[-1].args]
        )


def test_the_image_holds_what_the_manifests_ask_of_it() -> None:
    """Object stores of the settings, and `implicit` of the nightly `train factors`."""
    installs = (INFRA / "Dockerfile").read_text("utf-8")
    extras = set(re.findall(r"\.\[([a-z0-9,]+)\]", installs)[0].split(","))
    asked = "".join(path.read_text("utf-8") for path in MANIFESTS)
    assert ("s3" in extras) == ("s3://" in asked)
    assert ("evaluate" in extras) == ("train, factors" in asked)
    # implicit's wheel asks the system for OpenMP, and slim images have none.
    assert ("evaluate" in extras) == ("libgomp1" in installs)
    for names in re.findall(r"^COPY (?!--from)(.+) \S+$", installs, re.MULTILINE):
        assert all((INFRA.parent / name).exists() for name in names.split()), names


def test_prometheus_takes_its_configuration_and_rules() -> None:
    folder = INFRA / "prometheus"
    run("promtool", "check", "config", "prometheus.yml", folder=folder)
    run("promtool", "check", "rules", "recording.yml", "alerting.yml", folder=folder)


def test_prometheus_in_a_cluster_finds_each_process_under_the_job_of_the_rules(
    tmp_path: Path,
) -> None:
    folder = INFRA / "prometheus"
    for name in ("recording.yml", "alerting.yml"):
        shutil.copy(folder / name, tmp_path)
    config = yaml.safe_load((folder / "kubernetes.yml").open())
    (job,) = config["scrape_configs"]
    # Debian's promtool is built without Kubernetes: this one key it is not asked about.
    assert job.pop("kubernetes_sd_configs") == [
        {"role": "pod", "namespaces": {"names": ["springtide"]}}
    ]
    (tmp_path / "kubernetes.yml").write_text(yaml.safe_dump(config), "utf-8")
    run("promtool", "check", "config", "kubernetes.yml", folder=tmp_path)
    sources = {each.get("target_label"): each["source_labels"] for each in job["relabel_configs"]}
    assert sources["job"] == ["__meta_kubernetes_pod_label_app"]
    compose_jobs = yaml.safe_load((folder / "prometheus.yml").open())["scrape_configs"]
    for workload in WORKLOADS:
        template = workload["spec"]["template"]
        assert template["metadata"]["labels"]["app"] in {each["job_name"] for each in compose_jobs}
        (port,) = template["spec"]["containers"][0]["ports"]
        annotations = template["metadata"]["annotations"]
        assert annotations == {
            "prometheus.io/scrape": "true", "prometheus.io/port": str(port["containerPort"])
        }  # fmt: skip


def test_the_rules_do_what_their_tests_say() -> None:
    said = run("promtool", "test", "rules", "rules_test.yml", folder=INFRA / "prometheus")
    assert "SUCCESS" in said


def test_every_alert_says_what_to_do_and_names_metrics_that_exist() -> None:
    from prometheus_client import CollectorRegistry

    from infra.metrics import ApiMetrics, WorkerMetrics
    from models.metrics import ClassifierMetrics

    registry = CollectorRegistry()
    for metrics in (WorkerMetrics, ApiMetrics, ClassifierMetrics):
        metrics(registry)
    known = {f.name + ("_total" if f.type == "counter" else "") for f in registry.collect()}
    for name in ("recording.yml", "alerting.yml"):
        for group in yaml.safe_load((INFRA / "prometheus" / name).open())["groups"]:
            for rule in group["rules"]:
                used = set(re.findall(r"\bspringtide_\w+", rule["expr"]))
                used = {re.sub(r"_(bucket|count|sum)$", "", each) for each in used}
                assert used <= known, (rule, used - known)
                assert "alert" not in rule or {"summary", "action"} == set(rule["annotations"])


def test_alertmanager_takes_its_configuration() -> None:
    assert "SUCCESS" in run("amtool", "check-config", "alertmanager/alertmanager.yml")


def compose() -> dict[str, Any]:
    """The configuration as the real Compose resolves it."""
    spec = find_spec("compose")
    assert spec is not None and spec.origin is not None
    binary = Path(spec.origin).with_name("docker-compose")  # pip's script returns 0 on errors
    said = run(binary, "-f", "compose.yaml", "config", **SECRETS)
    resolved: dict[str, Any] = yaml.safe_load(said)
    return resolved


def test_compose_resolves_and_binds_this_machine_only() -> None:
    services = compose()["services"]
    assert {"kafka", "valkey", "clickhouse", "prometheus", "alertmanager", "grafana", "worker",
            "classifier", "api"} <= services.keys()  # fmt: skip
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1", name
        for mount in service.get("volumes", ()):
            assert mount["type"] == "volume" or Path(mount["source"]).exists(), mount
    for name, ours in services.items():
        if ours["image"] == "springtide":
            assert ours["read_only"] and ours["cap_drop"] == ["ALL"], name
            options = understood(*ours["command"])[-1].params
            probe = (ours.get("healthcheck") or {"test": [""]})["test"][-1]
            assert "port" not in options or f":{options['port']}/readyz" in probe, name
    assert services["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_a_compose_file_with_a_mistake_is_refused(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {imag: b}}\n", "utf-8")
    spec = find_spec("compose")
    assert spec is not None and spec.origin is not None
    binary = Path(spec.origin).with_name("docker-compose")
    ended = subprocess.run(
        [binary, "-f", tmp_path / "compose.yaml", "config", "-q"], check=False, capture_output=True
    )
    assert ended.returncode != 0


def test_every_setting_that_is_deployed_exists() -> None:
    known = {f"SPRINGTIDE_{name.upper()}" for name in Settings.model_fields}
    known.add("SPRINGTIDE_CLICKHOUSE_PASSWORD")  # compose's own, for ClickHouse and Grafana
    for path in (INFRA / "compose.yaml", INFRA / "Dockerfile", *MANIFESTS):
        used = set(re.findall(r"SPRINGTIDE_[A-Z_]+", path.read_text("utf-8")))
        assert used <= known, (path.name, used - known)


def test_alerts_lead_to_the_page_and_live_comments_do_not_wait() -> None:
    """On both platforms, where the worker's other settings stand."""
    (there,) = (each["data"] for name, each in OBJECTS if name == "settings.yaml")
    for deployed in (there, compose()["services"]["worker"]["environment"]):
        assert deployed["SPRINGTIDE_OPS_URL"].startswith(("http://", "https://"))
        within = float(deployed["SPRINGTIDE_SCORE_WITHIN_SECONDS"])
        assert within == Settings.model_fields["score_within_seconds"].default


def test_embeddings_forget_when_it_is_said() -> None:
    (job,) = (each for name, each in OBJECTS if name == "factors.yaml")
    minute, hour = job["spec"]["schedule"].split()[:2]
    assert job["spec"]["timeZone"] == "Etc/UTC"
    args = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--forget" in args and "--from-clickhouse" in args
    (settings,) = (each for name, each in OBJECTS if name == "settings.yaml")
    assert settings["data"]["SPRINGTIDE_FACTORS_URL"] == args[args.index("--out") + 1]
    said = (INFRA.parent / "docs" / "erasure.md").read_text("utf-8")
    assert f"every night at {int(hour):02}:{int(minute):02} UTC" in said


@pytest.mark.parametrize(("name", "each"), OBJECTS, ids=lambda v: v if isinstance(v, str) else "")
def test_a_manifest_is_of_kubernetes_schema(name: str, each: dict[str, Any]) -> None:
    kubernetes_validate.validate(each, "1.33", strict=True)


def test_a_manifest_with_a_mistake_is_refused() -> None:
    wrong = {**WORKLOADS[0], "spec": {**WORKLOADS[0]["spec"], "replicaz": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.33", strict=True)


@pytest.mark.parametrize(("name", "pod"), PODS, ids=lambda v: v if isinstance(v, str) else "")
def test_a_pod_does_what_the_command_line_knows_and_may_do_little(
    name: str, pod: dict[str, Any]
) -> None:
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts.keys() <= volumes and mounts["tmp"] == "/tmp"
        options = understood(*container["args"])[-1].params
        if "port" in options:
            assert container["ports"] == [{"name": "http", "containerPort": options["port"]}]
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


def test_the_namespace_comes_first_and_keeps_others_from_what_asks_for_no_token() -> None:
    assert [each["kind"] for _, each in OBJECTS[:2]] == ["Namespace", "NetworkPolicy"]
    namespace, policy = (each for _, each in OBJECTS[:2])
    assert all(
        each["metadata"]["namespace"] == namespace["metadata"]["name"] for _, each in OBJECTS[1:]
    )
    (chosen,) = policy["spec"]["podSelector"]["matchExpressions"]
    asks = "SPRINGTIDE_API_TOKENS_FILE"
    open_ones = {w["metadata"]["name"] for w in WORKLOADS if asks not in yaml.safe_dump(w)}
    assert set(chosen["values"]) == open_ones


def test_the_secret_that_pods_ask_for_is_the_one_that_is_described() -> None:
    said = (INFRA / "kubernetes" / "settings.yaml").read_text("utf-8")
    asked = "".join(path.read_text("utf-8") for path in MANIFESTS)
    keys = {*re.findall(r"name: springtide, key: ([a-z-]+)", asked),
            *re.findall(r"\{key: ([a-z-]+), path:", asked)}  # fmt: skip
    assert keys == set(re.findall(r"--from-(?:file|literal)=([a-z-]+)", said))


def test_workers_scale_with_the_lag_and_classifiers_ask_for_a_gpu() -> None:
    scaler = next(each for _, each in OBJECTS if each["kind"] == "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "worker"
    setup = next(pod for name, pod in PODS if name == "setup")
    partitions = understood(*setup["initContainers"][0]["args"])[-1].params["partitions"]
    assert scaler["spec"]["maxReplicas"] <= partitions
    assert scaler["spec"]["metrics"][0]["external"]["metric"]["name"].endswith("_lag")
    classifier = next(w for w in WORKLOADS if w["metadata"]["name"] == "classifier")
    limits = classifier["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"
