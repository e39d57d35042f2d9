// Draws what openapi.json says: each route with the fields of its body and a request to copy. Nothing is fetched from elsewhere.

const root = new URL(".", location.href).href;
// What stands for a field in a request that works; other fields are left out.
const EXAMPLES = {
  input: ["What is a rabbit?"], documents: ["a small mammal", "a stadium"], prompt: "What is a rabbit?", texts: ["What is a rabbit?"],
  inputs: ["What is a rabbit?"], query: "rabbit", queries: "rabbit", ids: [101, 102], tokens: [101, 102],
};
// Where one of these is given, the others are not.
const ALTERNATIVES = [["input", "messages"], ["documents", "texts"], ["texts", "images", "inputs"], ["prompt", "messages", "inputs"]];

function make(tag, text, ...children) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return [...new Set(schema.anyOf.map(typeOf))].filter((name) => name !== "null").join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${typeOf(schema.items ?? {}) || "anything"}`;
  return schema.type ?? "anything";
}

function exampleOf(path, fields) {
  if (path === "/similarity") return { inputs: { source_sentence: "rabbit", sentences: EXAMPLES.documents } };
  const body = {};
  for (const name of Object.keys(EXAMPLES)) {
    const given = ALTERNATIVES.some((names) => names.includes(name) && names.some((other) => other in body));
    if (name in fields && !given) body[name] = EXAMPLES[name];
  }
  return body;
}

function fieldsOf(schema) {
  const table = make("table", "", make("tr", "", ...["field", "type", "if left out", ""].map((text) => make("th", text))));
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const needed = (schema.required ?? []).includes(name);
    const left = needed ? "needed" : field.default === undefined || field.default === null ? "" : JSON.stringify(field.default);
    const cells = [make("td", "", make("code", name)), make("td", typeOf(field)), make("td", left), make("td", field.description)];
    table.append(make("tr", "", ...cells));
  }
  return make("div", "", table);
}

function drawn(document_, path, method, operation) {
  const details = make("details", "", make("summary", "", make("code", `${method.toUpperCase()} ${path}`), ` ${operation.summary ?? ""}`));
  const lines = [`curl ${root.replace(/\/$/, "")}${path}`];
  const reference = operation.requestBody?.content["application/json"]?.schema.$ref;
  if (reference) {
    const schema = document_.components.schemas[reference.split("/").pop()];
    details.append(make("p", schema.description), fieldsOf(schema));
    lines[0] += " -H 'Content-Type: application/json' \\";
    lines.push(`  -d '${JSON.stringify(exampleOf(path, schema.properties ?? {}))}'`);
  }
  details.append(make("pre", "", make("code", lines.join("\n"))));
  return details;
}

async function main() {
  const response = await fetch(`${root}openapi.json`);
  if (!response.ok) throw new Error(`openapi.json was answered with ${response.status}; a server with keys shows it with one only.`);
  const document_ = await response.json();
  const groups = new Map();
  for (const [path, methods] of Object.entries(document_.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const name = operation.tags?.[0] ?? "others";
      if (!groups.has(name)) groups.set(name, make("section", "", make("h2", name)));
      groups.get(name).append(drawn(document_, path, method, operation));
    }
  }
  document.getElementById("routes").replaceChildren(...groups.values());
}

main().catch((error) => {
  document.getElementById("routes").replaceChildren(make("p", error.message));
});
