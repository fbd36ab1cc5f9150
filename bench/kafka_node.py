"""A Kafka node under measurement: one process, KRaft, with the flags its own start script gives.

The jars come from Maven Central through `bench/kafka/pom.xml` and are kept outside of the tree.
"""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from bench.machine import CACHE, Missing
from bench.server import Running, free_port, process, wait_for_port

VERSION: Final = "4.3.0"
POM: Final = Path(__file__).resolve().parent / "kafka" / "pom.xml"
JARS: Final = CACHE / f"kafka-{VERSION}"
CLUSTER: Final = "VGlkZWxvZ0JlbmNoMDAwMQ"
CLEAN_STOP: Final = "logs/.kafka_cleanshutdown"
"""In the node's directory after a clean stop, and only then."""
FLAGS: Final = (
    "-Xms1G", "-Xmx1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
)  # fmt: skip


def jars() -> Path:
    """Return the folder of the jars; Maven fetches them at the first call.

    Raises:
        Missing: there is no Java or no Maven, or Maven cannot reach its repository.
    """
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise Missing(f"{program} is not installed")
    if not (JARS / f"kafka_2.13-{VERSION}.jar").exists():
        command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
        command += [f"-DoutputDirectory={JARS}", "-DincludeScope=runtime"]
        fetched = subprocess.run(command, capture_output=True, text=True, check=False)
        if fetched.returncode:
            raise Missing(f"Maven: {(fetched.stdout + fetched.stderr).strip()[-300:]}")
    return JARS


@contextlib.contextmanager
def kafka(data: Path, **settings: str) -> Iterator[Running]:
    """Run a node on `data`: a fresh one where nothing is yet, else the one that was stopped."""
    log = data.with_name(f"{data.name}.log")
    properties = data / "server.properties"
    if not properties.exists():
        _form_alone(properties, settings)
    listeners = re.search(
        r"^listeners=PLAINTEXT://127\.0\.0\.1:(\d+)", properties.read_text(), re.M
    )
    assert listeners is not None
    port = int(listeners[1])
    with process(command(properties), log=log) as child:
        wait_for_port(child, port, log)
        yield Running("kafka", child.pid, f"127.0.0.1:{port}")


def _form_alone(properties: Path, settings: Mapping[str, str]) -> None:
    """Make the directory of a node that begins with nothing."""
    data = properties.parent
    port, quorum_port = free_port(), free_port()
    lines = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{quorum_port}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{quorum_port}",
        "log.dirs": str(data / "logs"),
        "num.partitions": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        **settings,
    }
    form(properties, lines, "--standalone")


def form(properties: Path, lines: Mapping[str, str], *options: str) -> None:
    """Write a node's properties, and have Kafka's own tool make its directory."""
    properties.parent.mkdir(parents=True)
    properties.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    tool = ["java", "-Xmx256m", "-cp", f"{jars()}/*", "kafka.tools.StorageTool", "format"]
    tool += [*options, "-t", CLUSTER, "-c", str(properties)]
    subprocess.run(tool, check=True, capture_output=True)


def command(properties: Path) -> list[str]:
    """Return what runs the node."""
    return ["java", *FLAGS, "-cp", f"{jars()}/*", "kafka.Kafka", str(properties)]
