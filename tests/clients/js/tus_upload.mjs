// Sends one file with the official tus client, and says what became of it: arguments are
// a JSON object {endpoint, headers, path, chunkSize, filename, filetype}; one line of
// JSON goes to stdout, {url, requests, broken} or {error}.

import { createReadStream, statSync } from "node:fs";
import * as tus from "tus-js-client";

const { endpoint, headers, path, chunkSize, filename, filetype } = JSON.parse(process.argv[2]);
let requests = 0;
let broken = 0;

function tell(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

const upload = new tus.Upload(createReadStream(path), {
  endpoint,
  headers,
  chunkSize,
  uploadSize: statSync(path).size,
  metadata: { filename, filetype },
  retryDelays: Array(100).fill(50),
  onBeforeRequest: () => { requests += 1; },
  onShouldRetry: () => { broken += 1; return true; },
  onSuccess: () => tell({ url: upload.url, requests, broken }),
  onError: (error) => tell({ error: String(error) }),
});
upload.start();
