// Reads one JSON object a line and answers each with one: what the official library makes of a message, and how it
// would have signed it itself.
"use strict";
const { Webhook } = require("standardwebhooks");

require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const { secret, headers, body } = JSON.parse(line);
  const payload = Buffer.from(body, "base64").toString();
  const answer = { error: "", signature: "" };
  const wh = new Webhook(secret);
  try {
    wh.verify(payload, headers);
  } catch (e) {
    answer.error = String(e.message || e);
  }
  answer.signature = wh.sign(headers["webhook-id"], new Date(headers["webhook-timestamp"] * 1000), payload);
  process.stdout.write(JSON.stringify(answer) + "\n");
});
