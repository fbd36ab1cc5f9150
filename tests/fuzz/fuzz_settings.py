"""Any bytes as a configuration: a TOML file, environment variables, and -X overrides."""

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from api.config_file import ConfigRefused, load

ROOT: Final = Path(__file__).parent.parent.parent
_SCRATCH: Final = tempfile.TemporaryDirectory(prefix="tidelog-fuzz-")
_FILE: Final = Path(_SCRATCH.name) / "settings.toml"


def samples() -> list[bytes]:
    """Return files of few settings, the reference of all, and lines for the other two ways."""
    reference = (ROOT / "config.reference.toml").read_bytes()
    return [
        b'[node]\ndata_dir = "/srv/tidelog"\nid = 3\n[log]\njournal_file_bytes = "64MiB"\n',
        b'[topic_defaults]\nretention.ms = "7d"\n[listeners.kafka]\nbind = "127.0.0.1:9092"\n',
        b"TIDELOG_NODE__ID=5\nTIDELOG_LOG__CHECKPOINT_BYTES=1MiB\nTIDELOG_LOG_LEVEL=debug\n",
        b"log.flush_ms=10\nnode.rack=r1\ntopic_defaults.segment.bytes=1GiB\n",
        *(b"[" + part for part in reference.split(b"\n[")[1:]),
    ]


def fuzz(data: bytes) -> None:
    """Read the input in all three ways."""
    _FILE.write_bytes(data)
    with suppress(ConfigRefused):
        load(file=str(_FILE))
    lines = data.decode(errors="replace").replace("\0", "").splitlines()[:40]
    pairs = dict(line.partition("=")[::2] for line in lines)
    # A name that ends so makes its value the path of a file, which is not to be any file here.
    environment = {name: text for name, text in pairs.items() if not name.endswith("_FILE")}
    with suppress(ConfigRefused):
        load(environment=environment)
    with suppress(ConfigRefused):
        load(overrides=lines)
