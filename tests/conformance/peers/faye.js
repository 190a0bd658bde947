// A Faye server for the conformance cases; tells its address on stdout.

import { createServer } from "node:http";
import faye from "faye";

const bayeux = new faye.NodeAdapter({ mount: "/cometd", timeout: 20 });

const server = createServer((request, response) => {
  response.writeHead(404);
  response.end();
});
bayeux.attach(server);
server.listen(0, "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}/cometd`);
});
