// Drives the CometD JavaScript client from lines of JSON: one command per line comes
// in on stdin ({id, command, ...fields}), and on stdout goes, one per line, what
// happens: {type: "result", id, result | error}, {type: "event", message} for data,
// {type: "meta", message} for replies, {type: "failure", message} for what failed.

import { createInterface } from "node:readline";
import { Console } from "node:console";

// stdout belongs to the protocol; what the library logs goes to stderr.
globalThis.console = new Console(process.stderr);
const { adapt } = await import("cometd-nodejs-client");
adapt();
const { AckExtension, CometD, TimeStampExtension, TimeSyncExtension } = await import("cometd");

const META = ["handshake", "connect", "disconnect", "subscribe", "unsubscribe", "publish"];
const cometd = new CometD();
const timesync = new TimeSyncExtension();
const subscriptions = new Map();

function tell(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

// A failure refers to sockets and requests, which have no JSON form.
function plain(message) {
  if (!message.failure) return message;
  const { reason, httpCode, connectionType, exception } = message.failure;
  const failure = { reason, httpCode, connectionType };
  if (exception) failure.exception = String(exception);
  return { ...message, failure };
}

for (const name of META) {
  cometd.addListener(`/meta/${name}`, (message) => tell({ type: "meta", message: plain(message) }));
}
cometd.addListener("/meta/unsuccessful", (message) => tell({ type: "failure", message: plain(message) }));

// Resolves with the reply, successful or not: that is for the test to judge.
function replied(start) {
  return new Promise((resolve) => start((message) => resolve(plain(message))));
}

function subscribe(channel, props = {}) {
  return replied((done) => {
    const handle = cometd.subscribe(channel, (message) => tell({ type: "event", message }), props, done);
    subscriptions.set(channel, handle);
  });
}

const commands = {
  configure({ headers = {}, transports = ["long-polling"], ack = false, clocks = false, ...options }) {
    for (const type of cometd.getTransportTypes()) {
      if (!transports.includes(type)) cometd.unregisterTransport(type);
    }
    if (ack) cometd.registerExtension("ack", new AckExtension());
    if (clocks) {
      cometd.registerExtension("timesync", timesync);
      cometd.registerExtension("timestamp", new TimeStampExtension());
    }
    cometd.configure({ logLevel: "warn", ...options, requestHeaders: headers });
    return { transports: cometd.getTransportTypes() };
  },

  // The library calls back after each handshake that it makes by itself, too, having
  // forgotten the subscriptions: subscribing again is what applications have to do.
  handshake({ ext, subscribe: channels = [] }) {
    return replied((done) => {
      cometd.handshake(ext ? { ext } : {}, async (reply) => {
        const replies = reply.successful ? await Promise.all(channels.map((name) => subscribe(name))) : [];
        done({ ...reply, subscriptions: replies.map((each) => each.successful) });
      });
    });
  },

  subscribe({ channel, ext }) {
    return subscribe(channel, ext ? { ext } : {});
  },

  unsubscribe({ channel }) {
    return replied((done) => cometd.unsubscribe(subscriptions.get(channel), done));
  },

  publish({ channel, data, ext }) {
    return replied((done) => cometd.publish(channel, data, ext ? { ext } : {}, done));
  },

  remoteCall({ target, data }) {
    return replied((done) => cometd.remoteCall(target, data, done));
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

  // Cuts the requests that are under way; the library then tries again.
  abort() {
    cometd.getTransport().abort();
    return {};
  },

  // What the client believes of the server's clock, in milliseconds.
  clock() {
    return { offset: timesync.getTimeOffset(), lag: timesync.getNetworkLag() };
  },

  status() {
    const transport = cometd.getTransport();
    return {
      status: cometd.getStatus(),
      clientId: cometd.getClientId(),
      transport: transport && transport.type,
      url: cometd.getURL(),
      advice: cometd.getAdvice(),
    };
  },
};

async function obey({ id, command, ...fields }) {
  try {
    if (!Object.hasOwn(commands, command)) throw new Error(`unknown command ${command}`);
    tell({ type: "result", id, result: await commands[command](fields) });
  } catch (error) {
    tell({ type: "result", id, error: String(error) });
  }
}

createInterface({ input: process.stdin })
  .on("line", (line) => obey(JSON.parse(line)))
  .on("close", () => process.exit(0));
tell({ type: "ready" });
