"""A node's settings as `tidelog config show` lists them."""

from collections.abc import Mapping, Sequence

from api.config_file import load, rows_of


def rows(
    overrides: Sequence[str], environment: Mapping[str, str], file: str | None
) -> list[dict[str, object]]:
    """Return every setting of a node that would be started so.

    Raises:
        ConfigRefused: it would not start.
    """
    loaded = load(file=file, environment=environment, overrides=overrides)
    return [row._asdict() for row in rows_of(loaded)]
