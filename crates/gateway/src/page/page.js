// The moving part of the page at `/`: publishing one record and tailing a topic live. Values are shown as the text that came,
// never parsed to numbers, and never as markup.
"use strict";

const MOST_ROWS = 200;
const form = document.getElementById("publish");
const said = document.getElementById("said");
const topics = document.querySelectorAll("select.topic");
const follow = document.getElementById("follow");
const pause = document.getElementById("pause");
const rows = document.getElementById("rows");
const state = document.getElementById("tail-state");

const choose = (name) => {
  for (const select of topics) {
    if (![...select.options].some((option) => option.value === name)) select.add(new Option(name, name));
    select.value = name;
  }
};

/* ── publish ─────────────────────────────────────────────────────────────────────────────── */
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const data = new FormData(form);
  const topic = data.get("topic");
  const record = { value_text: data.get("value") };
  if (data.get("key")) record.key = data.get("key");
  const send = form.querySelector("button");
  send.disabled = true;
  try {
    const response = await fetch(`v1/topics/${encodeURIComponent(topic)}/records`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ records: [record] }),
    });
    const answer = await response.json();
    const result = answer.results?.[0];
    said.className = response.ok ? "said ok" : "said bad";
    said.textContent = response.ok
      ? `● stored at offset ${result.offset} of ${topic}-${result.partition}`
      : `■ ${answer.detail ?? result?.error?.detail ?? answer.title ?? response.statusText}`;
  } catch (error) {
    said.className = "said bad";
    said.textContent = `■ nothing was sent: ${error.message}`;
  } finally {
    send.disabled = false;
  }
});

/* ── live tail ───────────────────────────────────────────────────────────────────────────── */
let source = null;
let waiting = [];
let isPaused = false;
let seen = 0;

const text = (record, name) => record[name] ?? record[`${name}_text`] ?? (record[`${name}_base64`] ? `base64 ${record[`${name}_base64`]}` : "—");

const row = (record) => {
  const line = document.createElement("tr");
  const value = record.shown;
  const cells = [
    [record.timestamp?.slice(11, 23) ?? "—", "time"],
    [record.partition, "small n"],
    [record.offset, "offset n"],
    [text(record, "key"), "key"],
    [value, ""],
  ];
  for (const [content, kind] of cells) {
    const cell = document.createElement("td");
    cell.className = `mono ${kind}`;
    cell.textContent = content;
    if (!kind) cell.title = content;
    line.append(cell);
  }
  return line;
};

/* Cuts an array of records into its raw texts, so that the value is shown as it was written: 64-bit numbers keep every digit. */
const rawValue = (raw, from) => {
  const at = raw.indexOf('"value":', from);
  if (at < 0) return null;
  const start = at + 8;
  let depth = 0;
  let quoted = false;
  for (let i = start; i < raw.length; i++) {
    const c = raw[i];
    if (quoted) {
      if (c === "\\") i++;
      else if (c === '"') quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === "{" || c === "[") depth++;
    else if (c === "}" || c === "]" || c === ",") {
      if (depth === 0) return [raw.slice(start, i), i];
      if (c !== ",") depth--;
    }
  }
  return null;
};

const take = (raw) => {
  const parsed = JSON.parse(raw);
  const records = Array.isArray(parsed) ? parsed : parsed.records;
  let from = 0;
  for (const record of records) {
    if ("value" in record) {
      const found = rawValue(raw, from);
      record.shown = found ? found[0] : JSON.stringify(record.value);
      from = found ? found[1] : from;
    } else record.shown = text(record, "value");
  }
  seen += records.length;
  waiting.push(...records);
  if (waiting.length > MOST_ROWS) waiting = waiting.slice(-MOST_ROWS);
};

const paint = () => {
  if (!isPaused && waiting.length) {
    for (const record of waiting) rows.prepend(row(record));
    waiting = [];
    while (rows.childElementCount > MOST_ROWS) rows.lastElementChild.remove();
  }
  requestAnimationFrame(() => setTimeout(paint, 100));
};
paint();

const stop = () => {
  source?.close();
  source = null;
  follow.textContent = "Follow";
  pause.hidden = true;
};

const start = (topic) => {
  rows.replaceChildren();
  seen = 0;
  source = new EventSource(`v1/topics/${encodeURIComponent(topic)}/records?from=latest`);
  source.onopen = () => {
    state.className = "said ok";
    state.textContent = `● live: records of ${topic} appear as they come`;
  };
  source.addEventListener("records", (event) => {
    take(event.data);
    state.textContent = `● live: ${seen} records of ${topic}`;
  });
  source.addEventListener("gap", (event) => {
    state.className = "said warn";
    state.textContent = `▲ ${JSON.parse(event.data).dropped} records were left out: they came faster than they could be shown`;
  });
  source.onerror = () => {
    state.className = "said warn";
    state.textContent = source?.readyState === EventSource.CLOSED ? `■ ${topic} cannot be followed` : "▲ the connection broke; trying again";
    if (source?.readyState === EventSource.CLOSED) stop();
  };
  follow.textContent = "Stop";
  pause.hidden = false;
};

follow.addEventListener("click", () => {
  if (source) {
    stop();
    state.className = "said";
    state.textContent = "";
  } else start(document.getElementById("tail-topic").value);
});
pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.textContent = isPaused ? "Go on" : "Pause";
});
document.addEventListener("click", (event) => {
  const name = event.target.closest?.("a[data-topic]")?.dataset.topic;
  if (!name) return;
  event.preventDefault();
  choose(name);
  if (source) stop();
  start(name);
  document.getElementById("live").scrollIntoView();
});
