// serve_client.cjs PORT CALLS_PORT - Node's `openai` package asks two servers: the second answers with a tool call.  Prints what
// it got as JSON, for test_serve_clients.py.
const OpenAI = require("openai");

const client = (port) => new (OpenAI.OpenAI ?? OpenAI)({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: "EMPTY", maxRetries: 0 });
const messages = [{ role: "user", content: "Who are you?" }];
const tools = [{ type: "function", function: { name: "get_weather", parameters: { type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } } } } }];

async function main() {
  const openai = client(process.argv[2]), calls = client(process.argv[3]), got = {};
  got.models = (await openai.models.list()).data.map((m) => m.id);
  got.answer = (await openai.chat.completions.create({ model: "mxfp4", messages, temperature: 0 })).choices[0];
  got.stream = "";
  for await (const chunk of await openai.chat.completions.create({ model: "mxfp4", messages, temperature: 0, stream: true }))
    got.stream += chunk.choices[0]?.delta?.content ?? "";
  got.call = (await calls.chat.completions.create({ model: "", messages, tools, temperature: 0 })).choices[0];
  const runner = calls.chat.completions.stream({ model: "", messages, tools, temperature: 0 });
  got.streamed_call = (await runner.finalChatCompletion()).choices[0].message.tool_calls[0].function;
  got.completion = (await openai.completions.create({ model: "mxfp4", prompt: "The", max_tokens: 3 })).choices[0].finish_reason;
  try { await openai.chat.completions.create({ model: "mxfp4", messages, temperature: 9 }); }
  catch (e) { got.error = { status: e.status, param: e.param, type: e.constructor.name }; }
  console.log(JSON.stringify(got));
}
main().catch((e) => { console.error(e); process.exit(1); });
