// Draws the Vega panels of a pack as Dashboards would: fills in the dashboard's context, sends each search to the server,
// compiles, renders. node docs/panels/draw.mjs PACK.ndjson SERVER OUT [only=PART,…] [typed=TEXT] [bar=TEXT] [since=DAYS] [dark=1]
// Vega comes from the folder that NODE_PATH names (make panels). Writes OUT/PART.png and .svg, and to stdout one line of
// JSON a panel: {"id", "warnings", "marks"}; marks counts what was drawn of the data.
import { createRequire } from "node:module";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const require = createRequire(import.meta.url);
const { Resvg } = require("@resvg/resvg-js");
const [vega, vegaLite] = await Promise.all(["vega", "vega-lite"].map((name) => import(require.resolve(name))));

const CLAUSES = /^%dashboard_context-(must|filter|must_not)_clause%$/;
const SIZE = { width: 620, height: 260 };
const LARGE = { width: 980, height: 400 };
// What Dashboards' dark theme sets.
const DARK = {
  style: { "guide-label": { fill: "#dfe5ef" }, "guide-title": { fill: "#dfe5ef" }, "group-title": { fill: "#dfe5ef" } },
};
const SIZES = { rankings: LARGE, typed: LARGE };

const [file, server, out, ...more] = process.argv.slice(2);
const options = Object.fromEntries(more.map((one) => one.split("=")));
const since = new Date(Date.now() - Number(options.since ?? 30) * 86_400_000).toISOString();

// The dashboard's context: a time range, what is typed into the query bar (language Lucene), and no filters.
const clauses = {
  must: [options.bar ? { query_string: { query: options.bar, analyze_wildcard: true } } : { match_all: {} }],
  filter: [],
  must_not: [],
};

// What Dashboards does to a search before it sends it.
function inContext(url) {
  const { "%context%": context, "%timefield%": time, index, body } = url;
  if (body.query && (context || time)) throw new Error("%context% and %timefield% must not be used with body.query");
  if (time) {
    body.query = { range: { [time]: { gte: since, lte: new Date().toISOString(), format: "strict_date_optional_time" } } };
  }
  if (context) body.query = { bool: { ...clauses, must: [...clauses.must, ...(body.query ? [body.query] : [])] } };
  return { index, body: { ...body, ...(body.query ? { query: withClauses(body.query) } : {}) } };
}

function withClauses(part) {
  if (Array.isArray(part)) return part.flatMap((one) => clauses[CLAUSES.exec(one)?.[1]] ?? [withClauses(one)]);
  if (part === null || typeof part !== "object") return part;
  return Object.fromEntries(Object.entries(part).map(([key, value]) => [key, withClauses(value)]));
}

async function answered(url) {
  const { index, body } = inContext(url);
  const answer = await fetch(`${server}/${index}/_search?ignore_unavailable=true`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const told = await answer.json();
  if (!answer.ok) throw new Error(`${index}: ${answer.status} ${JSON.stringify(told.error ?? told)}`);
  return told;
}

async function fill(part) {
  if (Array.isArray(part)) return Promise.all(part.map(fill));
  if (part === null || typeof part !== "object") return part;
  if (part.url && typeof part.url === "object") {
    const { url, ...rest } = part;
    return { ...rest, values: await answered(url) };
  }
  return Object.fromEntries(await Promise.all(Object.entries(part).map(async ([key, value]) => [key, await fill(value)])));
}

function collecting(warnings) {
  const logger = vega.logger(vega.Warn);
  // There is no browser's window here, which panels that size themselves listen to.
  logger.warn = (...told) => (/event source: window/.test(told.join(" ")) || warnings.push(told.join(" ")), logger);
  return logger;
}

function marksOf(item) {
  let count = item.marktype && item.role === "mark" ? item.items.length : 0;
  for (const child of item.items ?? []) count += marksOf(child);
  return count;
}

async function draw(part, title, spec) {
  const warnings = [];
  const size = SIZES[part] ?? SIZE;
  const lite = spec.$schema.includes("vega-lite");
  // A panel that sizes itself asks for its container; Dashboards fits the others into it.
  const fitted = spec.autosize ? {} : { ...size, autosize: { type: "fit", contains: "padding" } };
  vega.expressionFunction("containerSize", () => [size.width, size.height]);
  const filled = { ...(await fill(spec)), ...fitted, background: options.dark ? "#1d1e24" : "white" };
  const titled = lite ? { ...filled, title: { text: title, subtitle: filled.title.text, anchor: "start", fontSize: 13 } } : filled;
  const compiled = lite ? vegaLite.compile(titled, { logger: collecting(warnings) }).spec : titled;
  const view = new vega.View(vega.parse(compiled, options.dark ? DARK : {}), { renderer: "none", logger: collecting(warnings) });
  if (options.typed !== undefined && part === "rankings") view.signal("typed", options.typed);
  await view.runAsync();
  const svg = (await view.toSVG()).replaceAll("font-family=\"sans-serif\"", "font-family=\"DejaVu Sans\"");
  const png = new Resvg(svg, { fitTo: { mode: "zoom", value: 1.5 }, font: { defaultFontFamily: "DejaVu Sans" } }).render().asPng();
  writeFileSync(`${out}/${part}.svg`, svg);
  writeFileSync(`${out}/${part}.png`, png);
  return { warnings, marks: marksOf(view.scenegraph().root) };
}

mkdirSync(out, { recursive: true });
const wanted = options.only?.split(",");
let failed = false;
for (const line of readFileSync(file, "utf8").split("\n").filter(Boolean)) {
  const { id, type, attributes } = JSON.parse(line);
  if (type !== "visualization") continue;
  const state = JSON.parse(attributes.visState);
  const [, part] = id.match(/^hybrid-search-.*?-([a-z0-9]+|field-.*|most-asked)$/) ?? [];
  if (state.type !== "vega" || (wanted && !wanted.includes(part))) continue;
  try {
    console.log(JSON.stringify({ id, ...(await draw(part, attributes.title, JSON.parse(state.params.spec))) }));
  } catch (error) {
    failed = true;
    console.log(JSON.stringify({ id, error: String(error.message ?? error) }));
  }
}
process.exit(failed ? 1 : 0);
