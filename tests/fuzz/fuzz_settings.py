"""Any bytes as a configuration: a TOML file, environment variables, and -X overrides."""

from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

from api.config_file import ConfigRefused, Loaded, load, of_bytes, rows_of

ROOT: Final = Path(__file__).parent.parent.parent
BASE_NS: Final = 60_000_000
"""Each way compares three unknown names with all that there are."""
READS: Final = 3
"""The file is read once, the lines twice."""


@lru_cache(maxsize=1)
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
    with suppress(ConfigRefused):
        _shown(load(base=of_bytes(data, "settings.toml")))
    lines = data.decode(errors="replace").replace("\0", "").splitlines()
    # A name that ends so makes its value the path of a file, which is not to be any file here.
    pairs = dict(line.partition("=")[::2] for line in lines)
    environment = {name: text for name, text in pairs.items() if not name.endswith("_FILE")}
    with suppress(ConfigRefused):
        load(environment=environment)
    with suppress(ConfigRefused):
        load(overrides=lines)


def _shown(loaded: Loaded) -> None:
    """What was taken is shown as text that is taken for the same."""
    rows = [row for row in rows_of(loaded) if row.origin != "default"]
    again = load(overrides=[f"{row.setting}={row.value}" for row in rows])
    assert again.settings == loaded.settings, "what is shown is not what is in force"
