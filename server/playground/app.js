// Talks to the server that served this page, through the routes that everybody else uses. No state is kept anywhere.

const SAMPLE = [
  "The weather is lovely today.",
  "It's so sunny outside!",
  "He drove to the stadium.",
  "What is the capital of France?",
  "Paris is the capital of France.",
];
// A heat map of more texts than this is no picture any more.
const MOST_TEXTS = 40;

const $ = (id) => document.getElementById(id);
const root = new URL(".", location.href).href;
let model = { id: "" };
let language = "curl";

async function call(path, body) {
  const headers = { "content-type": "application/json" };
  if ($("key").value) headers.authorization = `Bearer ${$("key").value}`;
  const response = await fetch(root + path, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers });
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) $("key-label").hidden = false;
  if (!response.ok) throw new Error(answer.message ?? answer.error?.message ?? answer.error ?? `status ${response.status}`);
  return answer;
}

function texts() {
  return $("texts").value.split("\n").filter((line) => line.trim());
}

function request() {
  const body = { model: model.id, input: texts() };
  if ($("prompt").value) body.prompt_name = $("prompt").value;
  if ($("dimensions").value) body.dimensions = Number($("dimensions").value);
  return body;
}

function vectorOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

function cosine(a, b) {
  let dot = 0, aa = 0, bb = 0;
  for (let i = 0; i < a.length; i++) { dot += a[i] * b[i]; aa += a[i] * a[i]; bb += b[i] * b[i]; }
  return dot / Math.max(Math.sqrt(aa * bb), 1e-12);
}

function element(tag, text, properties = {}) {
  return Object.assign(document.createElement(tag), { textContent: text, ...properties });
}

function drawHeat(lines, vectors) {
  const similar = vectors.map((a) => vectors.map((b) => cosine(a, b)));
  // Color by rank between the lowest and the highest pair, because models differ in what they call far apart.
  const others = similar.flatMap((row, i) => row.filter((_, j) => i !== j));
  const low = Math.min(...others, 1), high = Math.max(...others, low + 1e-6);
  const head = element("tr", "");
  head.append(element("th", ""), ...lines.map((_, i) => element("th", String(i + 1))));
  const rows = similar.map((row, i) => {
    const line = element("tr", "");
    line.append(element("th", `${i + 1}  ${lines[i]}`, { className: "text", title: lines[i] }));
    row.forEach((value, j) => {
      const share = i === j ? 1 : (value - low) / (high - low);
      const cell = element("td", value.toFixed(4), { title: `${lines[i]}\n${lines[j]}` });
      cell.style.background = `color-mix(in oklab, var(--accent) ${Math.round(70 * share)}%, var(--card))`;
      line.append(cell);
    });
    return line;
  });
  $("heat").replaceChildren(head, ...rows);
}

async function drawTokens(lines) {
  const found = await Promise.all(lines.map((prompt) => call("tokenize", { model: model.id, prompt, return_token_strs: true })));
  $("tokens").replaceChildren(...found.map((one) => {
    const item = element("li", "");
    item.append(element("span", String(one.count), { className: "count" }));
    item.append(...one.token_strs.map((token, i) => element("span", token, { className: "token", title: `id ${one.tokens[i]}` })));
    return item;
  }));
}

async function embed() {
  const lines = texts();
  if (!lines.length) throw new Error("Write at least one text.");
  if (lines.length > MOST_TEXTS) throw new Error(`Write at most ${MOST_TEXTS} texts; there are ${lines.length}.`);
  const begin = performance.now();
  const answer = await call("v1/embeddings", { ...request(), encoding_format: "base64", endianness: "little" });
  const milliseconds = performance.now() - begin;
  const vectors = answer.data.map((item) => vectorOf(item.embedding));
  drawHeat(lines, vectors);
  await drawTokens(lines);
  $("results").hidden = false;
  $("token-count").textContent = `${answer.usage.prompt_tokens} in all`;
  return `${lines.length} texts, ${vectors[0].length} dimensions, ${milliseconds.toFixed(0)} ms there and back`;
}

function code() {
  const body = request();
  const url = root.replace(/\/$/, "");
  const pretty = JSON.stringify(body, null, 2);
  if (language === "curl") {
    const quoted = pretty.replaceAll("'", "'\\''");
    return `curl ${url}/v1/embeddings \\\n  -H 'content-type: application/json' \\\n  -d '${quoted}'`;
  }
  const list = JSON.stringify(body.input, null, 4).replace(/\n\]$/, ",\n]").replaceAll("\n", "\n    ");
  if (language === "openai") {
    const extra = body.prompt_name ? `\n    extra_body={"prompt_name": ${JSON.stringify(body.prompt_name)}},` : "";
    const width = body.dimensions ? `\n    dimensions=${body.dimensions},` : "";
    return `from openai import OpenAI\n\nclient = OpenAI(base_url="${url}/v1", api_key="EMPTY")\n`
      + `response = client.embeddings.create(\n    model="${model.id}",\n    input=${list},${width}${extra}\n)\n`
      + "vectors = [item.embedding for item in response.data]";
  }
  const type = JSON.stringify(body.prompt_name ?? null).replace("null", "None");
  const width = body.dimensions ? `\n    output_dimension=${body.dimensions},` : "";
  return `import cohere\n\nclient = cohere.ClientV2(base_url="${url}", api_key="EMPTY")\n`
    + `response = client.embed(\n    model="${model.id}",\n    texts=${list},\n    input_type=${type},${width}\n`
    + `    embedding_types=["float"],\n)\nvectors = response.embeddings.float_`;
}

function show() {
  $("code").textContent = code();
}

async function run(event) {
  event?.preventDefault();
  $("run").disabled = true;
  $("status").className = "";
  $("status").textContent = "…";
  try {
    if (!model.id) await describe();
    $("status").textContent = await embed();
  } catch (error) {
    $("status").className = "bad";
    $("status").textContent = error.message;
  } finally {
    $("run").disabled = false;
  }
}

async function describe() {
  [model] = (await call("v1/models")).data;
  $("model").textContent = `${model.id}: ${model.dimension} dimensions, up to ${model.max_model_len} tokens`;
  $("prompt").append(...Object.keys(model.prompts ?? {}).map((name) => new Option(name, name)));
  const widths = model.matryoshka_dimensions ?? [];
  const full = model.dimension;
  $("dimensions").append(new Option(`all ${full}`, ""), ...widths.filter((n) => n < full).map((n) => new Option(n, n)));
  show();
}

$("texts").value = SAMPLE.join("\n");
$("form").addEventListener("submit", run);
for (const id of ["texts", "prompt", "dimensions"]) $(id).addEventListener("input", show);
for (const tab of document.querySelectorAll("[role=tab]")) {
  tab.addEventListener("click", () => {
    language = tab.dataset.code;
    for (const other of document.querySelectorAll("[role=tab]")) other.ariaSelected = String(other === tab);
    show();
  });
}
$("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText($("code").textContent);
  $("copy").textContent = "copied";
  setTimeout(() => { $("copy").textContent = "copy"; }, 1200);
});
run();
