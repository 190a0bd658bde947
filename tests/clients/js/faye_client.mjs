// Drives the Faye client from lines of JSON, in the same form as cometd_client.mjs:
// one command per line on stdin, what happens one per line on stdout. Beside results,
// events and meta messages there is {type: "transport", state: "up" | "down"}.

import { createInterface } from "node:readline";
import { Console } from "node:console";

// stdout belongs to the protocol; what the library logs goes to stderr.
globalThis.console = new Console(process.stderr);
const { default: faye } = await import("faye");

let client;
let exts = {};
const subscriptions = new Map();

function tell(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

// Sees every message before the library does, and adds what the app has to say.
const app = {
  outgoing(message, callback) {
    const ext = exts[message.channel];
    callback(ext ? { ...message, ext } : message);
  },
  incoming(message, callback) {
    if (message.successful !== undefined) tell({ type: "meta", message });
    if (message.successful === false) tell({ type: "failure", message });
    callback(message);
  },
};

// Resolves with the verdict, good or bad: that is for the test to judge.
function verdict(deferrable) {
  return new Promise((resolve) => {
    deferrable.callback(() => resolve({ successful: true }));
    deferrable.errback((error) => resolve({ successful: false, error: String(error) }));
  });
}

const commands = {
  configure({ url, headers = {}, transports = ["long-polling"], ext = {}, ...options }) {
    client = new faye.Client(url, options);
    for (const type of ["websocket", "eventsource", "long-polling"]) {
      if (!transports.includes(type)) client.disable(type);
    }
    for (const [name, value] of Object.entries(headers)) client.setHeader(name, value);
    exts = ext;
    client.addExtension(app);
    client.on("transport:up", () => tell({ type: "transport", state: "up" }));
    client.on("transport:down", () => tell({ type: "transport", state: "down" }));
    return {};
  },

  // Shakes hands if needed; resolves when the client is ready to send.
  connect() {
    return new Promise((resolve) => client.connect(() => resolve({ successful: true })));
  },

  subscribe({ channel }) {
    const subscription = client.subscribe(channel).withChannel((name, data) => {
      tell({ type: "event", message: { channel: name, data } });
    });
    subscriptions.set(channel, subscription);
    return verdict(subscription);
  },

  unsubscribe({ channel }) {
    subscriptions.get(channel).cancel();
    return {};
  },

  publish({ channel, data }) {
    return verdict(client.publish(channel, data));
  },

  batch({ messages }) {
    const all = messages.map(({ channel, data }) => verdict(client.publish(channel, data)));
    return Promise.all(all);
  },

  disconnect({ ext }) {
    if (ext) exts["/meta/disconnect"] = ext;
    return verdict(client.disconnect());
  },

  status() {
    const { clientId, connectionType } = client._dispatcher;
    return { clientId, transport: connectionType };
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
