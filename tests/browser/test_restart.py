"""A browser that looks for another way (ICE restart) goes on hearing."""

import pytest

from tests.browser.listening import page_of, speaking
from tests.relay.process import relay

pytestmark = [pytest.mark.browser, pytest.mark.nightly]

# Listens by WHEP, restarts ICE by PATCH, and tells what has come before and under the new names.
RESTART = """async (url) => {
  const line = new RTCPeerConnection();
  line.addTransceiver("audio", {direction: "recvonly"});
  const until = async (so) => {
    while (!(await so())) await new Promise((go) => setTimeout(go, 20));
  };
  const offer = async () => {
    await line.setLocalDescription(await line.createOffer());
    await until(() => line.iceGatheringState === "complete");
    return line.localDescription.sdp;
  };
  const of = (sdp, name) => sdp.match(new RegExp(`a=ice-${name}:(\\\\S+)`))[1];
  const stats = async (type) =>
    [...(await line.getStats()).values()].find((each) => each.type === type);
  const heard = async () => (await stats("inbound-rtp"))?.packetsReceived ?? 0;
  const headers = {"content-type": "application/sdp"};
  const posted = await fetch(url, {method: "POST", headers, body: await offer()});
  const answer = await posted.text();
  await line.setRemoteDescription({type: "answer", sdp: answer});
  await until(async () => (await heard()) > 20);
  line.restartIce();
  const names = await offer();
  const patched = await fetch(posted.headers.get("location"), {
    method: "PATCH",
    headers: {"content-type": "application/trickle-ice-sdpfrag", "if-match": "*"},
    body: `a=ice-ufrag:${of(names, "ufrag")}\\r\\na=ice-pwd:${of(names, "pwd")}\\r\\n`,
  });
  const fragment = await patched.text();
  const renewed = answer
    .replaceAll(/a=ice-ufrag:\\S+/g, `a=ice-ufrag:${of(fragment, "ufrag")}`)
    .replaceAll(/a=ice-pwd:\\S+/g, `a=ice-pwd:${of(fragment, "pwd")}`);
  await line.setRemoteDescription({type: "answer", sdp: renewed});
  const ours = of(names, "ufrag");
  await until(async () => (await stats("transport")).iceLocalUsernameFragment === ours);
  await until(() => line.iceConnectionState === "connected");
  const before = await heard();
  await until(async () => (await heard()) > before + 100);
  const {packetsLost} = await stats("inbound-rtp");
  return {status: patched.status, state: line.connectionState, lost: packetsLost};
}"""


def test_a_browser_restarts_ice_and_misses_nothing(browser):
    with relay() as its, speaking(its, "tea", "ana"), page_of(browser, its, "tea") as page:
        told = page.evaluate(RESTART, f"{its.http}/whep/tea")
        assert told == {"status": 200, "state": "connected", "lost": 0}
        assert its.now("tea")["people"] == 2
