"""Who sent a request, as logs may show it."""

from cometd_chat.bayeux import Peer


def test_what_is_shown_of_a_peer_holds_no_secret() -> None:
    peer = Peer(headers={"gms_user": "Cleo"}, address="192.0.2.1", browser="a cookie")
    assert repr(peer) == "Peer(address='192.0.2.1')"
