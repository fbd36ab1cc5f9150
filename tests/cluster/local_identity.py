"""Rows of the story about who a node is: nobody takes another's place."""

import hashlib
import shutil
import signal
from pathlib import Path

from tests.cluster.local_cluster import copy, refused
from tests.cluster.local_stage import Stage
from tests.cluster.topics import TOPIC
from tests.cluster.waiting import Broken


def _undisturbed(stage: Stage, number: int, pid: int) -> None:
    """See that a node is the process that it was, and that all takes records.

    Raises:
        Broken: it is not.
    """
    row = stage.cluster.rows()[number]
    if row["pid"] != pid or row["state"] != "running":
        raise Broken(f"node {number} was disturbed: {row['state']}, {row['pid']} for {pid}")
    stage.load.mark()
    stage.load.back("beside a node that was refused")


def clone(stage: Stage) -> str:
    """A directory is copied, and started beside the original."""
    number = stage.cluster.leader(TOPIC, 0)
    pid = stage.cluster.rows()[number]["pid"]
    directory = stage.folder / "clone"
    stage.cluster.signal([number], signal.SIGSTOP)
    try:
        copy(stage.cluster.data(number), directory)
    finally:
        stage.cluster.signal([number], signal.SIGCONT)
    stage.heal()
    said = refused(stage.cluster.stranger(number, directory=directory))
    _undisturbed(stage, number, pid)
    return f"clone of node {number}: {said}"


def same_id(stage: Stage) -> str:
    """An empty node is given an id that another has, which does not lead the quorum."""
    return _second(stage, stage.cluster.controller() % 3 + 1)


def controllers_id(stage: Stage) -> str:
    """An empty node is given the id of the node that leads the quorum."""
    return _second(stage, stage.cluster.controller())


def _second(stage: Stage, number: int) -> str:
    """Start a second node of a number, with a directory of its own."""
    pid = stage.cluster.rows()[number]["pid"]
    said = refused(stage.cluster.stranger(number, directory=stage.folder / f"second-{number}"))
    peer = stage.cluster.address(number, "peer")
    if peer not in said:
        raise Broken(f"the refusal does not name {peer}, where the first one is: {said}")
    _undisturbed(stage, number, pid)
    return f"a second node {number}: {said}"


def other_cluster(stage: Stage) -> str:
    """An empty node of another cluster is pointed at this one's seeds."""
    pid = stage.cluster.rows()[1]["pid"]
    node = stage.cluster.stranger(9, directory=stage.folder / "other", cluster_id="other")
    said = refused(node)
    _undisturbed(stage, 1, pid)
    return said


def old_image(stage: Stage) -> str:
    """Yesterday's image of a directory is put back; wiping it is the way out."""
    number = stage.cluster.leader(TOPIC, 0)
    node = ("--node", str(number))
    directory, image = stage.cluster.data(number), stage.folder / "image"
    stage.cluster.done("stop", *node)
    copy(directory, image)
    stage.cluster.done("start", *node)
    stage.heal()
    stage.cluster.done("stop", *node)
    shutil.rmtree(directory)
    copy(image, directory)
    ran = stage.cluster.run("start", *node)
    if ran.code != 12:
        raise Broken(f"the old image was started: exit {ran.code}: {ran.err[-400:]}")
    changed = sorted(name for name, was in _logs(image).items() if _logs(directory)[name] != was)
    if changed:
        raise Broken(f"the old image was overwritten: {', '.join(changed[:3])}")
    stage.cluster.done("purge", "--yes", *node)
    stage.cluster.done("start", *node)
    stage.cluster.in_sync(TOPIC)
    told = next(
        (line for line in ran.err.splitlines() if "error:" in line and "exit" not in line), ""
    )
    return f"image of node {number}: exit 12: {told.strip()}; unchanged; wiped, it joined again"


def _logs(directory: Path) -> dict[str, str]:
    """Return a digest of each segment of a data directory."""
    return {
        str(file.relative_to(directory)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in directory.rglob("*.log")
    }
