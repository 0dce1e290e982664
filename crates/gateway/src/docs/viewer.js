// Shows /openapi.json: an index, each operation with its parameters, bodies and answers, and a form that sends it.
// Everything is built as text nodes: nothing of the document, of an answer or of the address is ever read as markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function resolve(api, schema) {
  const name = schema && schema.$ref && schema.$ref.split("/").pop();
  return name ? api.components.schemas[name] || {} : schema || {};
}

// A short description of a schema: its type, or the name of what it refers to.
function typeName(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  const options = schema.oneOf || schema.anyOf;
  if (options) return options.map(typeName).filter((name) => name !== "null").join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const types = [].concat(schema.type || "any").filter((type) => type !== "null");
  return types[0] === "array" ? `list of ${typeName(schema.items)}` : types.join(" or ");
}

// An example that has every property, to begin with.
function example(api, schema, depth = 0) {
  const shape = resolve(api, schema);
  if (shape.example !== undefined) return shape.example;
  if (shape.enum) return shape.enum[0];
  const type = [].concat(shape.type || "any").find((name) => name !== "null");
  if (type === "array") return depth > 4 ? [] : [example(api, shape.items, depth + 1)];
  if (type === "integer" || type === "number") return shape.default ?? shape.minimum ?? 0;
  if (type === "boolean") return false;
  if (type === "string") return "";
  const properties = Object.entries(shape.properties || {});
  const wanted = properties.filter(([name]) => (shape.required || []).includes(name));
  const shown = wanted.length > 0 ? wanted : properties.slice(0, 1);
  return Object.fromEntries(shown.map(([name, inner]) => [name, example(api, inner, depth + 1)]));
}

function table(heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { textContent: text })));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

function code(text) {
  return element("code", { textContent: text });
}

function fields(api, schema) {
  const shape = resolve(api, schema);
  const items = shape.type === "array" ? resolve(api, shape.items) : shape;
  const rows = Object.entries(items.properties || {}).map(([name, inner]) => {
    const must = (items.required || []).includes(name) ? " *" : "";
    return [code(name + must), typeName(inner), inner.description || ""];
  });
  return rows.length > 0 ? table(["Field", "Type", "What it is"], rows) : null;
}

function bodies(api, title, content) {
  return Object.entries(content || {}).map(([media, { schema }]) =>
    element("div", {}, element("h3", { textContent: `${title} · ${media} · ${typeName(schema)}` }), fields(api, schema)));
}

// The form that sends an operation; the answer is shown as it came.
function tryIt(api, method, path, operation) {
  const inputs = (operation.parameters || []).map((parameter) => {
    const input = element("input", { placeholder: parameter.schema?.default ?? "" });
    input.setAttribute("aria-label", parameter.name);
    return { parameter, input };
  });
  const json = operation.requestBody?.content?.["application/json"];
  const text = json ? JSON.stringify(example(api, json.schema), null, 2) : "";
  const body = operation.requestBody ? element("textarea", { value: text, ariaLabel: "Body" }) : null;
  const curl = element("pre");
  const answer = element("pre", { hidden: true });
  const request = () => build(method, path, inputs, body?.value, json);
  const refresh = () => { curl.textContent = curlOf(request()); };
  const send = element("button", { type: "button", textContent: "Send" });
  send.onclick = async () => {
    answer.hidden = false;
    answer.textContent = "…";
    answer.textContent = await sent(request());
  };
  [...inputs.map(({ input }) => input), body].filter(Boolean).forEach((input) => { input.oninput = refresh; });
  refresh();
  const rows = inputs.map(({ parameter, input }) =>
    [code(parameter.name + (parameter.required ? " *" : "")), parameter.in, parameter.description || "", input]);
  const parameters = rows.length > 0 ? table(["Parameter", "In", "What it is", "Value"], rows) : null;
  return element("div", {}, parameters, body, element("h3", { textContent: "curl" }), curl, send, answer);
}

function build(method, path, inputs, body, json) {
  let url = path;
  const query = new URLSearchParams();
  const headers = {};
  for (const { parameter, input } of inputs) {
    const value = input.value;
    if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(value || parameter.name));
    if (parameter.in === "query" && value) query.set(parameter.name, value);
    if (parameter.in === "header" && value) headers[parameter.name] = value;
  }
  if (body && json) headers["Content-Type"] = "application/json";
  const search = query.toString();
  return { method: method.toUpperCase(), url: search ? `${url}?${search}` : url, headers, body };
}

function curlOf({ method, url, headers, body }) {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const parts = ["curl"];
  if (method !== "GET") parts.push("-X", method);
  parts.push(quote(location.origin + url));
  for (const [name, value] of Object.entries(headers)) parts.push("-H", quote(`${name}: ${value}`));
  if (body) parts.push("-d", quote(body));
  return parts.join(" ");
}

async function sent({ method, url, headers, body }) {
  try {
    const response = await fetch(url, { method, headers, body: body || undefined });
    const text = await response.text();
    return `${response.status} ${response.statusText}\n\n${text}`;
  } catch (error) {
    return String(error);
  }
}

function operationSection(api, id, method, path, operation) {
  const answers = Object.entries(operation.responses || {}).map(([status, response]) =>
    [code(status), response.description || "", Object.keys(response.content || {}).join(", ")]);
  return element("section", { className: "operation", id },
    element("h2", { textContent: operation.summary || `${method} ${path}` }),
    element("p", {}, element("span", { className: `verb ${method}`, textContent: method.toUpperCase() }), " ", element("span", { className: "path", textContent: path })),
    operation.description ? element("p", { textContent: operation.description }) : null,
    tryIt(api, method, path, operation),
    ...bodies(api, "Body", operation.requestBody?.content),
    element("h3", { textContent: "Answers" }),
    table(["Status", "What it means", "Media type"], answers),
    ...bodies(api, "Answer", operation.responses?.["200"]?.content || operation.responses?.["201"]?.content));
}

function show(api) {
  const index = document.getElementById("index");
  const main = document.getElementById("operations");
  main.replaceChildren(element("h1", { textContent: `${api.info.title} ${api.info.version}` }), element("p", { textContent: api.info.description || "" }));
  const byTag = new Map((api.tags || []).map((tag) => [tag.name, []]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const tag = item[method].tags?.[0] || "Other";
      if (!byTag.has(tag)) byTag.set(tag, []);
      byTag.get(tag).push({ path, method, operation: item[method] });
    }
  }
  for (const [tag, operations] of byTag) {
    index.append(element("h3", { textContent: tag }));
    for (const { path, method, operation } of operations) {
      const id = operation.operationId ? `${method}-${path}` : `${method} ${path}`;
      const verb = element("span", { className: `verb ${method}`, textContent: method.toUpperCase() });
      index.append(element("a", { href: `#${encodeURIComponent(id)}`, title: operation.summary || "" }, verb, element("span", { className: "path", textContent: path })));
      main.append(operationSection(api, id, method, path, operation));
    }
  }
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

document.getElementById("search").oninput = (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const link of document.querySelectorAll("#index a")) {
    link.hidden = !`${link.textContent} ${link.title}`.toLowerCase().includes(wanted);
  }
};

fetch("/openapi.json")
  .then((response) => response.json())
  .then(show)
  .catch((error) => { document.getElementById("operations").replaceChildren(element("p", { textContent: `The document cannot be read: ${error}` })); });
