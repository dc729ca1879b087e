"""docker-compose.yaml and the files its services mount, read by the services' own checkers if available."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import compose
from tests.support import REPO, need

DEMO = REPO / "demo"
FILLED = dict.fromkeys(compose.SECRETS, "x")
LASTING = {
    *("postgres", "api-server", "scheduler", "dag-processor", "triggerer", "champion-server", "candidate-server"),
    *("mlflow", "prometheus", "alertmanager", "pushgateway", "tempo", "grafana"),
}
ENDING = {"volumes-init", "airflow-init", "trainer"}


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> dict:
    return compose.services(tmp_path_factory.mktemp("compose"), FILLED)


def checked(*command: str, **more) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, timeout=120, check=False, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class TestServices:
    def test_services_have_the_production_shape(self, services):
        assert set(services) == LASTING | ENDING | {"load"}

    def test_images_are_pinned(self, services):
        for name, service in services.items():
            if "build" in service:
                context = Path(service["build"]["context"])
                text = (context / service["build"].get("dockerfile", "Dockerfile")).read_text()
                image = re.search(r"^FROM (\S+)", text, re.MULTILINE)[1]
                assert re.search(r":\d+\.\d+\.\d+$", service["image"]), f"{name}: {service['image']}"
            else:
                image = service["image"]
            assert re.search(r":v?\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}$", image), f"{name}: {image}"

    def test_long_running_services_have_health_checks_and_restart(self, services):
        for name in LASTING:
            assert services[name]["healthcheck"]["test"][0] == "CMD", name
            assert services[name]["restart"] == "unless-stopped", name

    def test_only_volume_setup_runs_as_root(self, services):
        for name, service in services.items():
            assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"]), name
            if name == "volumes-init":
                assert service["user"] == "0"
            elif "build" in service:
                assert "user" not in service, name
                context = Path(service["build"]["context"])
                assert re.search(
                    r"^USER (airflow|mlflow)$", (context / service["build"].get("dockerfile", "Dockerfile")).read_text(), re.M
                )
            else:
                assert service["user"] not in ("0", "root"), name

    def test_ports_are_published_on_localhost_only(self, services):
        ports = [str(port) for service in services.values() for port in service.get("ports", ())]
        assert len(ports) == 5
        assert all(port.startswith("127.0.0.1:") for port in ports)

    def test_services_wait_for_their_dependencies(self, services):
        for name, service in services.items():
            for other, how in service.get("depends_on", {}).items():
                wanted = "service_completed_successfully" if other in ENDING else "service_healthy"
                assert how["condition"] == wanted, f"{name} -> {other}"

    @pytest.mark.parametrize("name", compose.SECRETS)
    def test_no_secret_has_a_default(self, tmp_path, name):
        done = compose.config(tmp_path, {other: "x" for other in compose.SECRETS if other != name})
        assert done.returncode != 0
        assert name in done.stderr

    def test_example_env_file_names_every_secret_without_values(self):
        lines = [line for line in (DEMO / "compose.env.example").read_text().splitlines() if not line.startswith("#")]
        assert sorted(lines) == sorted(f"{name}=" for name in compose.SECRETS)

    def test_mounted_files_exist(self, services):
        mounts = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())]
        files = [mount for mount in mounts if mount.startswith(".")]
        assert len(files) == 7
        assert all((REPO / mount).exists() for mount in files)
        assert os.access(DEMO / "postgres" / "databases.sh", os.X_OK)

    def test_docker_accepts_the_compose_file(self):
        docker = shutil.which("docker")
        if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
            pytest.skip("no docker compose here; podman-compose has read the file")
        checked(docker, "compose", "-f", "docker-compose.yaml", "config", "--quiet", env={**os.environ, **FILLED})


class TestFiles:
    def test_prometheus_accepts_its_configuration_and_rules(self):
        said = checked(need("promtool"), "check", "config", "demo/prometheus/prometheus.yml")
        assert "28 rules found" in said

    def test_alertmanager_accepts_its_configuration(self):
        amtool = need("amtool")
        checked(amtool, "check-config", "demo/alertmanager/alertmanager.yml")
        for severity, receiver in (("page", "pager"), ("ticket", "nobody")):
            said = checked(
                amtool, "config", "routes", "test", "--config.file=demo/alertmanager/alertmanager.yml", f"severity={severity}"
            )
            assert said.split()[0] == receiver

    def test_shell_accepts_the_postgresql_script(self):
        checked("sh", "-n", "demo/postgres/databases.sh")

    def test_airflow_accepts_its_settings(self, services, tmp_path):
        env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        own = {name: str(value) for name, value in services["scheduler"]["environment"].items()}
        own |= {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db"}
        said = checked(sys.executable, "-m", "airflow", "config", "lint", env=env | own)
        assert "No issues found" in said

    def test_rules_and_dashboard_match_the_documents(self):
        from airflow_slo_provider.slo import load, rules
        from airflow_slo_provider.slo.export.grafana_dashboard import grafana_dashboard

        catalog = load(str(DEMO / "slos_prometheus"))
        assert (DEMO / "prometheus" / "slo_rules.yml").read_text() == rules(catalog)
        dashboard = (DEMO / "grafana" / "dashboards" / "slo.json").read_text()
        assert dashboard == json.dumps(grafana_dashboard(catalog), indent=2) + "\n"

    def test_grafana_dashboard_and_data_sources_exist(self, services):
        (provider,) = yaml.safe_load((DEMO / "grafana/provisioning/dashboards/dashboards.yaml").read_text())["providers"]
        mounts = dict(volume.split(":")[1::-1] for volume in services["grafana"]["volumes"])
        assert (REPO / mounts[provider["options"]["path"]] / "slo.json").is_file()
        sources = yaml.safe_load((DEMO / "grafana/provisioning/datasources/datasources.yaml").read_text())["datasources"]
        assert {one["type"] for one in sources} == {"prometheus", "alertmanager", "tempo"}
        assert [one["type"] for one in sources if one.get("isDefault")] == ["prometheus"]

    def test_spans_are_sent_to_the_port_of_tempo(self, services):
        tempo = yaml.safe_load((DEMO / "tempo" / "tempo.yaml").read_text())
        http = tempo["distributor"]["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
        assert http == "0.0.0.0:4318"
        for name in ("champion-server", "candidate-server"):
            command = services[name]["command"]
            assert command[command.index("--traces") + 1] == "http://tempo:4318"
        connection = json.loads(services["scheduler"]["environment"]["AIRFLOW_CONN_TRACE_STORE_DEFAULT"])
        assert connection["host"] == f"http://tempo:{tempo['server']['http_listen_port']}"

    def test_addresses_in_files_are_services(self, services):
        texts = [yaml.safe_dump(service) for service in services.values()]
        texts += [
            path.read_text()
            for folder in ("prometheus", "alertmanager", "grafana/provisioning", "tempo")
            for path in (DEMO / folder).rglob("*.y*ml")
        ]
        found = {name for text in texts for name in re.findall(r"(?:https?://|@|- \[?\")([a-z][a-z-]+):\d{4}\b", text)}
        assert len(found) > 6
        assert found - {"localhost"} <= set(services)

    def test_mlflow_image_has_the_tested_version(self):
        from tests.peers import PROGRAMS

        text = (DEMO / "mlflow" / "Dockerfile").read_text()
        assert all(package in text for package in PROGRAMS["mlflow"])
