"""Which files of a folder this process holds open (Linux: proc(5), fd)."""

import os
from pathlib import Path


def held(folder: Path) -> dict[int, str]:
    """Return descriptor and path of each file that is open below a folder.

    Nothing else is counted: what another test left is closed whenever the collector comes to it.
    """
    links: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            links[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the one with which the list was made, or closed since
            continue
    return {one: path for one, path in links.items() if path.startswith(f"{folder}/")}
