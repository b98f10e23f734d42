"""The Kubernetes manifests against the image, the configuration and the HTTP routes."""

from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from gate.config import load_config
from gate.daemon import DRAIN_TIMEOUT_S
from gate.observe.access import Access
from gate.observe.observer import Observer
from gate.observe.routes import build_routes
from tests.conftest import FakeClock
from tests.docker.conftest import DOCKER, EVERY_ADDRESS, SCRATCH, Dockerfile, password_files, read_yaml, run_or_skip

BASE, GPU = DOCKER / "k8s" / "base", DOCKER / "k8s" / "gpu"
CONFIG = load_config(BASE / "gate.yaml")
POD = read_yaml(BASE / "statefulset.yaml")["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]
RESOURCES = sorted(set(BASE.glob("*.yaml")) - {BASE / "kustomization.yaml", BASE / "gate.yaml"})


@pytest.fixture
def routes(fake_clock: FakeClock) -> set[str]:
    return set(build_routes(Observer(fake_clock), Access(fake_clock)))


@pytest.mark.parametrize("file", RESOURCES, ids=lambda file: file.stem)
def test_every_manifest_keeps_to_the_schema_of_its_kind(file: Any) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    manifest = read_yaml(file)
    if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
        assert set(manifest) == {"apiVersion", "kind", "metadata", "spec"}
        return
    for version in ("1.30", "1.36"):
        validate.validate(manifest, version, strict=True)


def test_the_schema_check_refuses_what_kubernetes_would() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    broken = read_yaml(BASE / "statefulset.yaml")
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(validate.ValidationError):
        validate.validate(broken, "1.36", strict=True)


def test_kustomize_builds_both_and_names_every_manifest_but_the_example() -> None:
    named = set(read_yaml(BASE / "kustomization.yaml")["resources"])
    assert named == {file.name for file in RESOURCES} - {"secret.example.yaml"}
    built = {}
    for folder in (BASE, GPU):
        done = run_or_skip(["kubectl", "kustomize", str(folder)])
        assert done.returncode == 0, done.stderr
        built[folder] = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(done.stdout)}
    assert {manifest["metadata"].get("namespace", "gate") for manifest in built[BASE].values()} == {"gate"}
    container = built[GPU]["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "facegate:cuda"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["readinessProbe"] == CONTAINER["readinessProbe"]


def test_the_probes_ask_routes_of_the_gate_at_its_port(routes: set[str]) -> None:
    (port,) = CONTAINER["ports"]
    assert port["containerPort"] == CONFIG.http.port
    assert CONFIG.http.host == EVERY_ADDRESS
    paths = {name: CONTAINER[name]["httpGet"]["path"] for name in CONTAINER if name.endswith("Probe")}
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert set(paths.values()) <= routes
    assert {CONTAINER[name]["httpGet"]["port"] for name in paths} == {port["name"]}


def test_prometheus_finds_the_pod_and_may_come_in(routes: set[str]) -> None:
    monitor = read_yaml(BASE / "podmonitor.yaml")["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] == CONTAINER["ports"][0]["name"]
    assert endpoint["path"] in routes
    policy = read_yaml(BASE / "networkpolicy.yaml")["spec"]
    service = read_yaml(BASE / "service.yaml")["spec"]
    for labels in (monitor["selector"]["matchLabels"], policy["podSelector"]["matchLabels"], service["selector"]):
        assert labels.items() <= POD["metadata"]["labels"].items()
    assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == [CONFIG.http.port]


def test_the_gate_may_reach_its_camera_redis_and_names_and_nothing_else() -> None:
    rules = read_yaml(BASE / "networkpolicy.yaml")["spec"]["egress"]
    ports = {port["port"] for rule in rules for port in rule["ports"]}
    wanted = {urlsplit(address).port for address in (CONFIG.redis.address, *(c.address for c in CONFIG.cameras))}
    assert wanted < ports
    assert all(rule["to"] for rule in rules)
    assert not CONFIG.weights.download


def test_the_pod_is_shut_in_and_runs_as_the_user_of_the_image(dockerfile: Dockerfile) -> None:
    pod, container = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    (user,) = dockerfile.values("runtime", "USER")
    assert f"{pod['runAsUser']}:{pod['runAsGroup']}" == user
    assert pod["runAsNonRoot"]
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["readOnlyRootFilesystem"]
    assert not container["allowPrivilegeEscalation"]
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert not POD["spec"]["automountServiceAccountToken"]
    assert POD["spec"]["terminationGracePeriodSeconds"] >= 2 * DRAIN_TIMEOUT_S


def test_every_password_file_is_a_key_of_the_secret_and_the_config_lies_where_the_image_looks(
    dockerfile: Dockerfile,
) -> None:
    mounts = {mount["name"]: mount for mount in CONTAINER["volumeMounts"]}
    secret = read_yaml(BASE / "secret.example.yaml")
    volumes = {volume["name"]: volume for volume in POD["spec"]["volumes"]}
    assert volumes["passwords"]["secret"]["secretName"] == secret["metadata"]["name"]
    folder = mounts["passwords"]["mountPath"]
    assert password_files(CONFIG) == {f"{folder}/{key}" for key in secret["stringData"]}
    assert dockerfile.json("runtime", "CMD")[-1] == f"{mounts['config']['mountPath']}/gate.yaml"
    # By subPath a change of the ConfigMap would never reach the running gate.
    assert not any("subPath" in mount for mount in mounts.values())


def test_the_spool_outlives_the_pod(dockerfile: Dockerfile) -> None:
    (claim,) = read_yaml(BASE / "statefulset.yaml")["spec"]["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert mounts[claim["metadata"]["name"]] in dockerfile.json("runtime", "VOLUME")
    assert mounts["tmp"] == SCRATCH
