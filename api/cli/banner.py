"""What `tidelog dev` prints when it is ready: only what is really served."""

from collections.abc import Iterator, Mapping

from api.door import Address

_NAMES = {"kafka": "Kafka", "grpc": "gRPC", "http": "HTTP"}


def banner(
    addresses: Mapping[str, Address], *, version: str, data_dir: str | None, is_open: bool
) -> str:
    """Return the lines above "Ready". `data_dir` None: gone when the node stops."""
    data = (
        "nothing is kept (gone when it stops)"
        if data_dir is None
        else f"data in {data_dir} (delete it to start over)"
    )
    who = "OPEN: whoever reaches it" if is_open else "loopback only"
    lines = [f"tidelog {version}  dev mode · one node · {data} · no authentication, {who}"]
    lines += _doors(addresses)
    tries = list(_tries(addresses))
    lines += [f"{'Try:' if not place else '':6}{one}" for place, one in enumerate(tries)]
    return "".join(f"{line}\n" for line in lines)


def _doors(addresses: Mapping[str, Address]) -> Iterator[str]:
    for door, shown_name in _NAMES.items():
        if door not in addresses:
            continue
        at = addresses[door].text
        shown = f"http://{at}" if door == "http" else at
        example = {
            "kafka": f"kcat -b {at} -L",
            "grpc": f"grpcurl -plaintext {at} list",
        }.get(door, "")
        yield f"  {shown_name:8} {shown:22}{example}".rstrip()


def _tries(addresses: Mapping[str, Address]) -> Iterator[str]:
    if "grpc" in addresses:
        served = addresses["grpc"]
        at = "" if served.port == 9095 else f" -X client.address={served.text}"
        yield f"tidelog topic create orders -p 6{at}"
        yield f"tidelog produce orders -k alice{at} <<< '{{\"total\": 9.5}}'"
        yield f"tidelog consume orders -o start{at}"
    elif "kafka" in addresses:
        at = addresses["kafka"].text
        yield f"echo hello | kcat -b {at} -t orders -P"
        yield f"kcat -b {at} -t orders -C -o beginning -e"
