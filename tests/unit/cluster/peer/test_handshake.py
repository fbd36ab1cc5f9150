"""The first frames of a link: both ends prove themselves, and nobody else gets in."""

import hmac

import pytest

from cluster.peer.handshake import FIRST_FRAME_BYTES_MAX, Handshake, agreed
from cluster.peer.hello import (
    DETAIL_BYTES_MAX,
    Hello,
    LinkRefused,
    Reason,
    Side,
    decode,
    encode_hello,
    encode_proof,
    encode_refused,
    is_proof,
    proof_of,
)
from cluster.peer.table import HEAD, FrameType, Versions, parse
from model.ids import NodeId

SECRET = b"a secret that every node of the cluster has"
DIALLER = Hello(NodeId(1), bytes(16), bytes([1]) * 16, bytes([1]) * 32, "tide")
LISTENER = Hello(NodeId(2), bytes([2]) * 16, bytes([2]) * 16, bytes([2]) * 32, "tide")


def dialling(
    me: Hello = DIALLER, secret: bytes = SECRET, expected: NodeId | None = None
) -> Handshake:
    return Handshake(me, secret, side=Side.DIALS, expected=expected)


def listening(me: Hello = LISTENER, secret: bytes = SECRET) -> Handshake:
    return Handshake(me, secret, side=Side.LISTENS)


def met(dialler: Handshake, listener: Handshake) -> list[bytes]:
    """Carry frames until nobody has one to send; return them in their order."""
    assert listener.begin() == b""
    frames = [dialler.begin()]
    turn = listener
    while frames[-1]:
        frames.append(turn.take(frames[-1]))
        turn = dialler if turn is listener else listener
    return frames[:-1]


def refused(handshake: Handshake, frame: bytes) -> LinkRefused:
    with pytest.raises(LinkRefused) as caught:
        handshake.take(frame)
    assert handshake.link is None
    return caught.value


def test_both_ends_know_each_other_after_four_frames() -> None:
    dialler, listener = dialling(expected=NodeId(2)), listening()
    frames = met(dialler, listener)
    kinds = [parse(frame, version=1).type for frame in frames]
    assert kinds == [FrameType.HELLO, FrameType.HELLO, FrameType.PROOF, FrameType.PROOF]
    assert dialler.link == (LISTENER, 1)
    assert listener.link == (DIALLER, 1)
    assert frames[2] != frames[3]


def test_a_node_may_call_itself() -> None:
    again = LISTENER._replace(nonce=bytes([3]) * 32)
    dialler, listener = dialling(again), listening()
    met(dialler, listener)
    assert dialler.link is not None
    assert listener.link is not None


def test_the_proof_is_the_keyed_hash_that_the_page_says() -> None:
    one, other = encode_hello(DIALLER), encode_hello(LISTENER)
    covered = b"".join(
        (b"tidelog peer link 1", b"\1", len(one).to_bytes(4, "big"), one,
         len(other).to_bytes(4, "big"), other)
    )  # fmt: skip
    wanted = hmac.new(SECRET, covered, "sha256").digest()
    assert proof_of(SECRET, Side.DIALS, dialler=one, listener=other) == wanted
    assert met(dialling(), listening())[2] == encode_proof(wanted)
    assert is_proof(wanted, wanted)
    assert not is_proof(wanted[:-1] + b"\0", wanted)


def test_who_does_not_know_the_secret_gets_no_proof() -> None:
    dialler, listener = dialling(secret=b"a guess"), listening()
    proof = dialler.take(listener.take(dialler.begin()))
    told = refused(listener, proof)
    assert told.reason is Reason.PROOF
    assert "does not know this cluster's secret" in told.detail
    assert not told.by_peer


def test_a_listener_without_the_secret_is_found_out() -> None:
    dialler = dialling()
    theirs = encode_hello(LISTENER)
    dialler.take(theirs)
    guess = proof_of(b"", Side.LISTENS, dialler=dialler.begin(), listener=theirs)
    assert refused(dialler, encode_proof(guess)).reason is Reason.PROOF


def test_a_proof_is_of_no_use_to_who_gives_it_back() -> None:
    dialler = dialling()
    proof = dialler.take(encode_hello(LISTENER))
    assert refused(dialler, proof).reason is Reason.PROOF


def test_a_recording_of_an_old_link_is_worthless() -> None:
    frames = met(dialling(), listening())
    later = listening(LISTENER._replace(nonce=bytes([9]) * 32))
    later.take(frames[0])
    assert refused(later, frames[2]).reason is Reason.PROOF
    calls = dialling(DIALLER._replace(nonce=bytes([9]) * 32))
    calls.take(frames[1])
    assert refused(calls, frames[3]).reason is Reason.PROOF


def test_everything_that_a_hello_says_is_proven() -> None:
    changes: list[Hello] = [
        DIALLER._replace(node=NodeId(3)),
        DIALLER._replace(directory=bytes([7]) * 16),
        DIALLER._replace(incarnation=bytes([7]) * 16),
        DIALLER._replace(nonce=bytes([7]) * 32),
        DIALLER._replace(greatest_level=2),
        DIALLER._replace(versions=Versions(1, 2)),
    ]
    for change in changes:
        dialler, listener = dialling(), listening()
        proof = dialler.take(listener.take(encode_hello(change)))
        assert refused(listener, proof).reason is Reason.PROOF, change


def test_our_own_nonce_is_a_repetition() -> None:
    told = refused(listening(), encode_hello(DIALLER._replace(nonce=LISTENER.nonce)))
    assert (told.reason, "repeats" in told.detail) == (Reason.PROOF, True)


def test_another_cluster_another_node_another_version() -> None:
    told = refused(listening(), encode_hello(DIALLER._replace(cluster_id="sea")))
    assert told.reason is Reason.CLUSTER
    assert '"tide"' in told.detail
    assert '"sea"' in told.detail
    told = refused(dialling(expected=NodeId(3)), encode_hello(LISTENER))
    assert (told.reason, "node 3 was called" in told.detail) == (Reason.IDENTITY, True)
    told = refused(listening(), encode_hello(DIALLER._replace(versions=Versions(2, 4))))
    assert told.reason is Reason.VERSION
    assert "1 to 1 here, 2 to 4 there" in told.detail


@pytest.mark.parametrize(
    ("one", "other", "version"),
    [((1, 1), (1, 1), 1), ((1, 3), (2, 5), 3), ((2, 5), (1, 3), 3), ((3, 3), (1, 3), 3)],
)
def test_the_greatest_version_that_both_speak(
    one: tuple[int, int], other: tuple[int, int], version: int
) -> None:
    assert agreed(Versions(*one), Versions(*other)) == version


def test_no_version_that_both_speak() -> None:
    with pytest.raises(LinkRefused, match="VERSION: protocol versions 1 to 2 here, 3 to 4"):
        agreed(Versions(1, 2), Versions(3, 4))


def test_a_later_release_may_say_more_in_its_hello() -> None:
    later = encode_hello(DIALLER._replace(versions=Versions(1, 2))) + b"more"
    listener = listening()
    theirs = listener.take(later)
    proof = proof_of(SECRET, Side.DIALS, dialler=later, listener=theirs)
    assert listener.take(encode_proof(proof)) != b""
    assert listener.link is not None
    assert listener.link.version == 1
    cut = listening()
    cut.take(later[:-1])
    assert refused(cut, encode_proof(proof)).reason is Reason.PROOF
    assert refused(listening(), encode_hello(DIALLER) + b"more").reason is Reason.MALFORMED


def test_what_comes_out_of_turn_is_refused() -> None:
    proof = encode_proof(bytes(32))
    hello = encode_hello(DIALLER)
    assert refused(listening(), proof).reason is Reason.UNKNOWN_FRAME
    greeted = listening()
    greeted.take(hello)
    assert "the turn of a proof" in refused(greeted, hello).detail
    beat = HEAD.pack(FrameType.BEAT, 0, 0) + bytes(8)
    assert refused(listening(), beat).reason is Reason.UNKNOWN_FRAME
    assert refused(listening(), HEAD.pack(200, 0, 0)).reason is Reason.UNKNOWN_FRAME
    assert refused(listening(), b"GET / HTTP/1.1\r\n").reason is Reason.UNKNOWN_FRAME
    assert refused(listening(), hello[:-1]).reason is Reason.MALFORMED
    done = listening()
    met(dialling(), done)
    with pytest.raises(LinkRefused, match="the turn of the end"):
        done.take(proof)


def test_the_others_refusal_is_told_as_theirs() -> None:
    ours = LinkRefused(Reason.CLUSTER, "é" * DETAIL_BYTES_MAX)
    frame = encode_refused(ours)
    assert len(frame) <= FIRST_FRAME_BYTES_MAX
    told = refused(dialling(), frame)
    assert told.by_peer
    assert (told.reason, told.detail) == (Reason.CLUSTER, "é" * (DETAIL_BYTES_MAX // 2))
    assert isinstance(decode(parse(frame, version=1)), LinkRefused)


def test_a_nonce_is_32_bytes() -> None:
    with pytest.raises(AssertionError, match="PEER_NONCE_IS_FRESH"):
        dialling(DIALLER._replace(nonce=b""))
