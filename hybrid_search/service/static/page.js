// The search page: asks the service's own API and nothing else; all of its state is in the address.

const K = 10;
const WAIT = 60; // ms after the last key before it asks
const FACETS = 20, VALUES = 10; // as many as the service counts at once, and of each field
const LEGS = [["bm25", "BM25"], ["hybrid", "Hybrid"], ["knn", "k-NN"]];
const COMPARISONS = {
  keyword: ["=", "!="], boolean: ["=", "!="], long: ["=", "!=", ">=", "<="], double: ["=", "!=", ">=", "<="],
  date: ["=", "!=", ">=", "<="],
};
const COUNTED = ["keyword", "boolean", "long"], QUOTED = ["keyword", "date"];

const one = (id) => document.getElementById(id);
const form = one("form"), results = one("results"), status = one("status");
const chosen = new Map(); // field -> the values that are ticked, each as JSON
let stats = null, asking = null, timer = 0;

start();

async function start() {
  form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
  form.addEventListener("input", (event) => { if (event.target.id !== "key") soon(); });
  one("key").addEventListener("change", describe);
  one("add-condition").addEventListener("click", () => { addCondition(); });
  one("close").addEventListener("click", () => one("document").close());
  one("document").addEventListener("close", () => { write({ document: null }); });
  window.addEventListener("popstate", restore);
  await describe();
}

async function describe() {
  try {
    stats = await ask("GET", "stats");
  } catch (problem) {
    if (problem.status === 401) {
      one("key-holder").hidden = false;
      one("key-holder").open = true;
    }
    say(problem.message);
    return;
  }
  one("about").textContent = `${stats.documents.toLocaleString("en")} documents in ${stats.location}`;
  const only = stats.modes.length === 1;
  for (const input of form.elements.mode) {
    input.disabled = only && input.value !== "bm25";
    if (only) input.checked = input.value === "bm25";
  }
  one("filters").hidden = !Object.keys(stats.fields).length;
  one("facets").open = matchMedia("(min-width: 48rem)").matches;
  restore();
}

function restore() {
  const state = new URLSearchParams(location.search);
  one("query").value = state.get("query") ?? "";
  one("weight").value = state.get("weight") ?? stats.weight;
  const mode = [...form.elements.mode].find((input) => input.value === state.get("mode") && !input.disabled);
  if (mode) mode.checked = true;
  one("conditions").replaceChildren();
  for (const condition of state.getAll("filter")) addCondition(JSON.parse(condition));
  chosen.clear();
  for (const [field, value] of state.getAll("facet").map((each) => JSON.parse(each))) {
    if (field in stats.fields) choose(field, value, true);
  }
  search();
  const shown = state.get("document");
  if (shown) open(shown);
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(search, WAIT);
}

async function search() {
  const mode = form.elements.mode.value, query = one("query").value, weight = Number(one("weight").value);
  one("weight-shown").textContent = weight.toFixed(2);
  one("weighing").hidden = !(mode === "hybrid" || mode === "side");
  write({
    query, mode, weight: String(weight), filter: conditions().map((condition) => JSON.stringify(condition)),
    facet: [...chosen].flatMap(([field, values]) => [...values].map((value) => JSON.stringify([field, JSON.parse(value)]))),
  });
  asking?.abort();
  if (!query.trim()) {
    results.replaceChildren();
    one("facets").hidden = true;
    say("Type a query.");
    return;
  }
  const controller = asking = new AbortController();
  const began = performance.now();
  const wanted = mode === "side" ? LEGS.map(([leg]) => leg) : [mode];
  try {
    const answers = await Promise.all(wanted.map((leg) => ask("POST", "search", {
      query, k: K, mode: leg, explain: true, highlight: true, filter: filter(), ...(leg === "hybrid" ? { weight } : {}),
    }, controller.signal)));
    if (controller !== asking) return;
    mode === "side" ? showSides(answers) : showOne(answers[0]);
    const search = Math.max(...answers.map((answer) => answer.took_ms)), all = performance.now() - began;
    const found = answers[0].hits.length;
    say(`${found} ${found === 1 ? "hit" : "hits"}; search ${search.toFixed(1)} ms, with the way ${all.toFixed(1)} ms.`);
    await count(query, mode === "side" ? "hybrid" : mode, weight, controller); // after the hits, which wait for nothing
  } catch (problem) {
    if (problem.name === "AbortError") return;
    results.replaceChildren();
    one("facets").hidden = true;
    say(problem.message);
  }
}

// A field with ticked values is counted without them, so that its other values can be ticked too.
async function count(query, mode, weight, controller) {
  const fields = Object.keys(stats.fields).filter((name) => COUNTED.includes(stats.fields[name])).slice(0, FACETS);
  const ticked = fields.filter((name) => chosen.has(name)), others = fields.filter((name) => !chosen.has(name));
  const asked = [[others, null], ...ticked.map((name) => [[name], name])];
  const answers = await Promise.all(asked.map(([facets, left]) => ask("POST", "search", {
    query, k: 1, mode, total: true, facets, filter: filter(left), ...(mode === "hybrid" ? { weight } : {}),
  }, controller.signal)));
  if (controller !== asking) return;
  const { total, is_exact } = answers[0], counts = Object.assign({}, ...answers.map((answer) => answer.facets));
  const matching = total === 1 ? "document matches" : "documents match";
  one("facets").querySelector("summary").textContent = `${is_exact ? "" : "about "}${total.toLocaleString("en")} ${matching}`;
  const focused = document.activeElement?.dataset?.facet;
  one("counted").replaceChildren(...fields.flatMap((name) => facet(name, counts[name] ?? [])));
  one("facets").hidden = false;
  if (focused) [...one("counted").querySelectorAll("input")].find((box) => box.dataset.facet === focused)?.focus();
}

function facet(name, counts) {
  const known = new Set(counts.map(({ value }) => JSON.stringify(value)));
  const gone = [...chosen.get(name) ?? []].filter((value) => !known.has(value));
  const telling = counts.length < VALUES || counts.some(({ count }) => count > 1); // else names, of which each is its own
  if (!(counts.length && telling) && !gone.length) return [];
  const made = one("facet").content.firstElementChild.cloneNode(true);
  made.firstElementChild.textContent = name;
  const values = [...counts, ...gone.map((value) => ({ value: JSON.parse(value), count: 0 }))];
  made.append(...values.map(({ value, count }) => {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.checked = chosen.get(name)?.has(JSON.stringify(value)) ?? false;
    box.dataset.facet = JSON.stringify([name, value]);
    box.addEventListener("change", () => choose(name, value, box.checked));
    label.append(box, `${value} (${count.toLocaleString("en")})`);
    return label;
  }));
  return [made];
}

function choose(name, value, on) {
  const values = chosen.get(name) ?? new Set(), written = JSON.stringify(value);
  on ? values.add(written) : values.delete(written);
  values.size ? chosen.set(name, values) : chosen.delete(name);
}

function showOne(answer) {
  results.className = "";
  results.replaceChildren(column(answer, LEGS.find(([leg]) => leg === answer.mode)[1]));
}

function showSides(answers) {
  const lexical = new Map(answers[0].hits.map((hit) => [hit.id, hit.rank]));
  results.className = "side";
  results.replaceChildren(...answers.map((answer, place) => column(answer, LEGS[place][1], place ? lexical : null)));
}

function column(answer, name, before = null) {
  const section = document.createElement("section"), heading = document.createElement("h2");
  heading.textContent = name;
  section.append(heading, list(answer, name, before));
  return section;
}

function list(answer, name, before = null) {
  const made = document.createElement("ol");
  made.setAttribute("aria-label", name);
  made.append(...answer.hits.map((hit) => shown(hit, answer, before)));
  return made;
}

function shown(hit, answer, before) {
  const made = one("hit").content.firstElementChild.cloneNode(true);
  const part = (name) => made.querySelector(`.${name}`);
  part("open").textContent = `${hit.rank}. ${hit.title || hit.id}`;
  part("open").addEventListener("click", () => open(hit.id));
  if (hit.highlights?.snippet) part("text").append(...marked(hit.highlights.snippet, hit.highlights.in_snippet));
  else part("text").textContent = hit.text;
  part("facts").textContent = [`score ${hit.score.toFixed(3)}`, hit.id, ...Object.entries(hit.metadata).map(
    ([name, value]) => `${name}: ${value}`)].join(" · ");
  if (before) part("facts").append(moved(hit, before));
  const share = part("share");
  if (answer.mode === "hybrid") {
    const bm25 = hit.legs.bm25?.share ?? 0, knn = hit.legs.knn?.share ?? 0;
    part("bm25").style.flexGrow = bm25;
    part("knn").style.flexGrow = knn;
    share.setAttribute("aria-label", `BM25 ${percent(bm25)}, vectors ${percent(knn)}`);
    share.title = share.getAttribute("aria-label");
  } else share.remove();
  if (stats.judges) judging(part("judge"), hit.id, answer.query);
  else part("judge").remove();
  return made;
}

function marked(text, places) {
  const characters = Array.from(text); // places count characters, and JavaScript's own are halves of some
  const made = [];
  let after = 0;
  for (const [first, next] of places) {
    const mark = document.createElement("mark");
    mark.textContent = characters.slice(first, next).join("");
    made.push(characters.slice(after, first).join(""), mark);
    after = next;
  }
  return [...made, characters.slice(after).join("")];
}

function moved(hit, before) {
  const made = document.createElement("span"), was = before.get(hit.id);
  made.className = "moved";
  if (was === undefined) made.textContent = ` · not among BM25's first ${K}`;
  else if (was === hit.rank) made.textContent = " · same rank";
  else made.textContent = was > hit.rank ? ` · ▲ up from ${was}` : ` · ▼ down from ${was}`;
  return made;
}

function judging(place, id, query) {
  for (const [grade, name] of [[1, "Relevant"], [0, "Not relevant"]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", async () => {
      try {
        await ask("POST", "judgements", { query, document_id: id, grade });
      } catch (problem) {
        say(problem.message);
        return;
      }
      for (const other of place.children) other.setAttribute("aria-pressed", String(other === button));
      say(`Noted: ${id} is ${name.toLowerCase()}.`);
    });
    place.append(button);
  }
}

async function open(id) {
  try {
    const [found, near] = await Promise.all([
      ask("GET", `documents/${encodeURIComponent(id)}`),
      stats.modes.includes("knn") ? ask("POST", "neighbours", { id, k: 5 }) : { hits: [] },
    ]);
    one("document-title").textContent = found.title || found.id;
    one("document-id").textContent = found.id;
    one("document-text").textContent = found.text;
    one("document-metadata").replaceChildren(...Object.entries(found.metadata).flatMap(([name, value]) => {
      const term = document.createElement("dt"), described = document.createElement("dd");
      term.textContent = name;
      described.textContent = value;
      return [term, described];
    }));
    one("neighbours").replaceChildren(...near.hits.map((hit) => {
      const made = document.createElement("li"), button = document.createElement("button");
      button.type = "button";
      button.className = "open";
      button.textContent = `${hit.title || hit.id} (distance ${hit.distance.toFixed(3)})`;
      button.addEventListener("click", () => open(hit.id));
      made.append(button);
      return made;
    }));
  } catch (problem) {
    say(problem.message);
    return;
  }
  write({ document: id });
  if (!one("document").open) one("document").showModal();
}

function addCondition(given = null) {
  const made = one("condition").content.firstElementChild.cloneNode(true);
  const [field, comparison, value] = ["field", "comparison", "value"].map((name) => made.querySelector(`.${name}`));
  field.append(...Object.keys(stats.fields).map((name) => new Option(name)));
  const compare = () => comparison.replaceChildren(...COMPARISONS[stats.fields[field.value]].map((sign) => new Option(sign)));
  if (given && given[0] in stats.fields) field.value = given[0];
  compare();
  if (given) [comparison.value, value.value] = [given[1], given[2]];
  field.addEventListener("change", compare);
  made.querySelector(".remove").addEventListener("click", () => { made.remove(); search(); });
  one("conditions").append(made);
  if (!given) field.focus();
}

function conditions() {
  return [...one("conditions").children].map((made) =>
    ["field", "comparison", "value"].map((name) => made.querySelector(`.${name}`).value));
}

function filter(leaving = null) {
  const written = (field, value) => QUOTED.includes(stats.fields[field]) ? quoted(value) : value;
  const parts = conditions().filter(([, , value]) => value.trim()).map(
    ([field, comparison, value]) => `${quoted(field)} ${comparison} ${written(field, value)}`);
  for (const [field, values] of chosen) {
    const texts = [...values].map((value) => written(field, String(JSON.parse(value))));
    if (field !== leaving) parts.push(`${quoted(field)} in (${texts.join(", ")})`);
  }
  return parts.length ? parts.join(" and ") : null;
}

function write(changes) {
  const state = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    state.delete(name);
    for (const each of value === null ? [] : [value].flat()) state.append(name, each);
  }
  history.replaceState(null, "", `?${state}`);
}

async function ask(method, path, body, signal) {
  const headers = {};
  if (body) headers["content-type"] = "application/json";
  if (one("key").value) headers.authorization = `Bearer ${one("key").value}`;
  const answer = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) });
  const content = await answer.json();
  if (answer.ok) return content;
  throw Object.assign(new Error(content.detail || content.title), { status: answer.status });
}

const say = (text) => { status.textContent = text; };
const quoted = (text) => `"${text.replace(/["\\]/g, "\\$&")}"`;
const percent = (share) => `${Math.round(100 * share)} %`;
