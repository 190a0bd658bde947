// Drives the CometD client of a web page with the protocol of cometd_client.mjs: a test
// calls `obey(line)`, and what happens goes out, one line each, through the binding
// `tellTest` that the test has put into the page.

import { AckExtension, CometD, ReloadExtension } from "./cometd/cometd.js";

const META = ["handshake", "connect", "disconnect", "subscribe", "unsubscribe", "publish"];
const cometd = new CometD();

function tell(line) {
  window.tellTest(JSON.stringify(line));
}

// A failure refers to sockets and requests, which have no JSON form.
function plain(message) {
  if (!message.failure) return message;
  const { reason, httpCode, connectionType } = message.failure;
  return { ...message, failure: { reason, httpCode, connectionType } };
}

for (const name of META) {
  cometd.addListener(`/meta/${name}`, (message) => tell({ type: "meta", message: plain(message) }));
}
cometd.addListener("/meta/unsuccessful", (message) => tell({ type: "failure", message: plain(message) }));

// Resolves with the reply, successful or not: that is for the test to judge.
function replied(start) {
  return new Promise((resolve) => start((message) => resolve(plain(message))));
}

function subscribe(channel) {
  return replied((done) => cometd.subscribe(channel, (message) => tell({ type: "event", message }), {}, done));
}

const commands = {
  configure({ headers = {}, transports, ack = false, reload = false, ...options }) {
    for (const type of cometd.getTransportTypes()) {
      if (!transports.includes(type)) cometd.unregisterTransport(type);
    }
    if (ack) cometd.registerExtension("ack", new AckExtension());
    if (reload) {
      cometd.registerExtension("reload", new ReloadExtension());
      window.addEventListener("pagehide", () => cometd.reload());
    }
    cometd.configure({ logLevel: "warn", ...options, requestHeaders: headers });
    return { transports: cometd.getTransportTypes() };
  },

  // The first handshake that succeeds resolves it; subscribing follows each of them.
  handshake({ ext, subscribe: channels = [] }) {
    return new Promise((resolve) => {
      cometd.handshake(ext ? { ext } : {}, async (reply) => {
        if (!reply.successful) return;
        const replies = await Promise.all(channels.map(subscribe));
        resolve({ ...plain(reply), subscriptions: replies.map((each) => each.successful) });
      });
    });
  },

  subscribe({ channel }) {
    return subscribe(channel);
  },

  publish({ channel, data }) {
    return replied((done) => cometd.publish(channel, data, {}, done));
  },

  // All in one request; resolves when each of them has its reply.
  async batch({ messages }) {
    let replies = [];
    cometd.batch(() => {
      replies = messages.map((message) => commands.publish(message));
    });
    return Promise.all(replies);
  },

  disconnect({ ext }) {
    return replied((done) => cometd.disconnect(ext ? { ext } : {}, done));
  },

  status() {
    const transport = cometd.getTransport();
    return {
      status: cometd.getStatus(),
      clientId: cometd.getClientId(),
      transport: transport && transport.type,
    };
  },
};

window.obey = async ({ id, command, ...fields }) => {
  try {
    if (!Object.hasOwn(commands, command)) throw new Error(`unknown command ${command}`);
    tell({ type: "result", id, result: await commands[command](fields) });
  } catch (error) {
    tell({ type: "result", id, error: String(error) });
  }
};
tell({ type: "ready" });
