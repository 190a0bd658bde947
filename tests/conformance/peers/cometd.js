// A CometD server for Node, with its acknowledgement extension and a service that
// echoes, for the conformance cases; tells its address on stdout.

import { createServer } from "node:http";
import bayeux from "cometd-nodejs-server";
import acknowledgements from "cometd-nodejs-server/ack-extension.js";

const cometd = bayeux.createCometDServer({ timeout: 20_000, maxInterval: 60_000 });
cometd.addExtension(new acknowledgements.AcknowledgedMessagesExtension());
cometd.createServerChannel("/service/echo").addListener("message", (session, channel, message, done) => {
  session.deliver(null, channel.name, message.data);
  done();
});

const server = createServer(cometd.handle);
server.listen(0, "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}/cometd`);
});
