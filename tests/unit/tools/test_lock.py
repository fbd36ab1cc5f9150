"""How a resolution is split into entries."""

from tools.lock import entries

TEXT = """# a comment
click==8.5.1 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
uvloop==0.23.0 ; sys_platform != 'win32' \\
    --hash=sha256:cc
"""


def test_an_entry_keeps_its_marker_and_its_hashes() -> None:
    assert entries(TEXT) == {
        "click": "click==8.5.1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n",
        "uvloop": "uvloop==0.23.0 ; sys_platform != 'win32' \\\n    --hash=sha256:cc\n",
    }
