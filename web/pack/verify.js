"use strict";
// Everything that decides is in the WebAssembly at the end of this script. What stands here takes files
// from a person, hands them over, and shows the answer. Text from files becomes text nodes and never
// markup, and the page's policy has the browser refuse anything else.

const ROLES = {
  "report": "Attestation report",
  "launch-record": "Release: launch record",
  "igvm-record": "Release: IGVM record",
  "collateral": "Certificates",
  "policy": "Policy",
  "root": "Another root (to try things out)",
};
const VERDICTS = {
  "accepted": ["Accepted", "Everything that was asked for holds."],
  "rejected": ["Rejected", "The evidence says something else than it must."],
  "cannot-decide": ["Cannot decide", "Something that is needed for an answer is missing."],
  "malformed": ["Malformed", "What was given is not what it is called."],
};
const RESULTS = {
  "passed": "passed", "failed": "failed", "unknown": "unknown", "not-checked": "not checked",
};
// One shape for each, so that nobody needs to tell colours apart.
const MARKS = {
  "passed": "M3 12a9 9 0 1 0 18 0 9 9 0 0 0-18 0m5 .4 2.7 2.6L16 9.4",
  "failed": "M8 2.8h8L21.2 8v8L16 21.2H8L2.8 16V8zm1.2 6.4 5.6 5.6m0-5.6-5.6 5.6",
  "unknown": "M12 3 22 20.5H2zm0 6.5v4.6m0 3v.1",
  "not-checked": "M5 12h14",
};
MARKS["accepted"] = MARKS["passed"];
MARKS["rejected"] = MARKS["failed"];
MARKS["cannot-decide"] = MARKS["unknown"];
MARKS["malformed"] = MARKS["failed"];
MARKS["broken"] = MARKS["unknown"];
MARKS["tried"] = MARKS["unknown"];
// Advice is written for a command line. What of it is done otherwise on this page, or elsewhere.
const HERE = [
  [/\bfetch\b.*\b(it|both|one|list|certificate|collateral)\b|collateral fetch/,
    "`counterfoil collateral fetch REPORT --output FILE` asks AMD’s key service for the certificates and the list of "
    + "revoked ones. This page asks nobody: run that where there is a network, and add FILE here."],
  [/`--collateral`/, "What `--collateral` is given to is added here like any other file."],
  [/`--at`/, "What `--at` says is typed in above: “another time”."],
  [/`--nonce`/, "What `--nonce` says is typed in above: “a challenge”."],
  [/`(crl|products|signers|csp-ids|minimum-tcb|vmpl|chip-ids|freshness|labelled)\b/,
    "The policy is a YAML file that you write and add here. `counterfoil verify --show-policy` prints the one that counts "
    + "without it, in which every key is explained."],
  [/`counterfoil (explain|id-block)/,
    "`counterfoil` is the command line of which this page is a part: it comes with a manual page for each command."],
];
// Larger files are images and disks, which nobody needs to give to this page.
const LARGEST = 16 * 1024 * 1024;

const at = (id) => document.getElementById(id);
const given = [];

// ---- The verifier

async function start() {
  const deflated = Uint8Array.from(atob(WASM), (c) => c.charCodeAt(0));
  const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return WebAssembly.compile(await new Response(stream).arrayBuffer());
}

// One instance a question: no check knows of the one before it.
async function ask(question) {
  const files = given.filter((file) => file.bytes);
  const header = new TextEncoder().encode(JSON.stringify({
    at: at("time").value.trim() || new Date().toISOString().replace(/\.\d+Z$/, "Z"),
    challenge: at("challenge").value.trim() || null,
    files: files.map(({ name, bytes, role }) => ({ name, size: bytes.length, as: role })),
  }));
  const length = files.reduce((sum, file) => sum + file.bytes.length, 4 + header.length);
  const { exports } = await WebAssembly.instantiate(await ready, {});
  const place = exports.counterfoil_alloc(length) >>> 0;
  const message = new Uint8Array(exports.memory.buffer, place, length);
  new DataView(exports.memory.buffer).setUint32(place, header.length, true);
  message.set(header, 4);
  let end = 4 + header.length;
  for (const { bytes } of files) {
    message.set(bytes, end);
    end += bytes.length;
  }
  const answer = exports["counterfoil_" + question](place, length) >>> 0;
  const size = new DataView(exports.memory.buffer).getUint32(answer, true);
  const json = new Uint8Array(exports.memory.buffer, answer + 4, size);
  return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
}

// ---- Files

async function take(files) {
  for (const file of files) {
    const entry = { name: file.name, size: file.size, bytes: null, role: null, wrong: null };
    if (file.size > LARGEST) {
      entry.wrong = "This is too large to be anything that is needed here. Images stay where they are: give "
        + "their record, launch.json or igvm.json.";
    } else {
      try {
        entry.bytes = new Uint8Array(await file.arrayBuffer());
      } catch {
        entry.wrong = "Your browser could not read it.";
      }
    }
    // The same name again is the same file, corrected.
    const before = given.findIndex(({ name }) => name === entry.name);
    given.splice(before < 0 ? given.length : before, before < 0 ? 0 : 1, entry);
  }
  await settle();
}

// Of a folder, a release's records.
async function unfold(entry) {
  if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (some.length === 0) break;
    found.push(...some.filter((inner) => inner.isFile && /^(launch|igvm)\.json$/.test(inner.name)));
  }
  if (found.length === 0) {
    throw new Error(`there is no launch.json in the folder ${entry.name}, so it is not a release’s: drop its files one by one`);
  }
  return (await Promise.all(found.map(unfold))).flat();
}

async function dropped(event) {
  event.preventDefault();
  at("drop").classList.remove("over");
  // A drop's items are gone after the first wait.
  const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  const parts = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile()).filter(Boolean);
  try {
    const files = await Promise.all(parts.map((part) => part instanceof File ? [part] : unfold(part)));
    await take(files.flat());
  } catch (error) {
    broken({ says: "your browser could not read what was dropped", causes: [error.message], advice: [] });
  }
}

// The newest question is the one that is answered.
let turn = 0;
async function settle() {
  const mine = ++turn;
  try {
    if (given.some((file) => file.bytes)) {
      const known = await ask("recognise");
      if (mine !== turn) return;
      if (known.error) throw known.error.says;
      given.filter((file) => file.bytes).forEach((file, index) => { file.role = known.ok[index].as; });
    }
    list();
    const has = (...roles) => given.some((file) => roles.includes(file.role));
    if (!has("report")) {
      at("result").hidden = true;
      return say(given.length === 0 ? "No files yet." : "Files taken. An attestation report is still needed.");
    }
    say("Checking…");
    const [verdict, fields] = [await ask("verify"), await ask("describe")];
    if (mine !== turn) return;
    if (verdict.error) return broken(verdict.error, fields.ok);
    show(verdict.ok, fields.ok);
  } catch (error) {
    if (mine !== turn) return;
    list();
    broken({
      says: "the verifier stopped, and nothing was decided",
      causes: [String(error)],
      advice: ["this is a mistake in counterfoil: please report it, with the files if they are not secret"],
    });
  }
}

function list() {
  at("list").replaceChildren(...given.map((file) => {
    const remove = el("button", { type: "button", class: "quiet", "aria-label": `Remove ${file.name}` }, "Remove");
    remove.addEventListener("click", () => {
      given.splice(given.indexOf(file), 1);
      settle().then(() => at("files").focus());
    });
    const parts = [el("span", { class: "name" }, file.name, el("span", { class: "size" }, bytes(file.size)))];
    if (file.wrong) return el("li", {}, ...parts, remove, el("span", { class: "wrong" }, file.wrong));
    const role = el("select", { "aria-label": `What ${file.name} is` },
      ...Object.entries(ROLES).map(([value, text]) => el("option", { value }, text)));
    role.value = file.role;
    role.addEventListener("change", () => { file.role = role.value; settle(); });
    return el("li", {}, ...parts, role, remove);
  }));
}

function bytes(size) {
  if (size < 10000) return `${size} bytes`;
  return size < 1e6 ? `${Math.round(size / 1000)} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

// ---- The answer

// `means` has by its code what a reason is; `says` in the verdict has what was found, with the values.
function show({ verdict, means }, fields) {
  const name = Object.hasOwn(VERDICTS, verdict.verdict) ? verdict.verdict : "cannot-decide";
  const [word, otherwise] = VERDICTS[name];
  const { checks, notes, matched, report, diagnosis } = verdict;
  // What speaks against it before what is merely missing.
  const against = new Set(checks.filter((check) => check.result === "failed").map((check) => check.reason));
  const reasons = [true, false].flatMap((first) => verdict.reasons.filter(({ code }) => against.has(code) === first));
  const count = (result) => checks.filter((check) => check.result === result).length;
  // Whoever chose the root can accept anything by it, so it is not said in the same word or colour.
  const elsewhere = verdict.root !== "AMD";
  const tried = name === "accepted" && elsewhere;
  const title = tried ? "Accepted, but not by AMD’s root" : word;
  const told = name === "accepted" ? accepted(matched) : reasons[0] ? sentence(means[reasons[0].code] ?? reasons[0].says) : otherwise;
  const left = checks.length - count("passed");
  const without = name === "accepted" && left > 0 ? `${left} of ${checks.length} checks were not made: see below. ` : "";
  const clock = at("time").value.trim() ? "the time that you said" : "by your browser’s clock";
  const parts = [banner(tried ? "tried" : name, title, told, `${without}Decided for ${verdict.at}, ${clock}.`)];
  if (elsewhere) {
    parts.unshift(el("p", { class: "warning", role: "note" }, el("strong", {}, "The root is not AMD’s."),
      "The certificates had to lead to another root, which you gave, and whoever has its key can make any report. "
      + "That is for trying things out. It says nothing about any processor of AMD."));
  }
  if (reasons.length > 0) {
    parts.push(card("What to do", el("ul", { class: "reasons" }, ...reasons.map((found) => reason(found, means))), ...here(reasons)));
  }
  if (diagnosis) parts.push(diagnosed(diagnosis));
  if (matched) {
    parts.push(card(name === "accepted" ? "The launch that it is" : "The launch that has this digest", facts([
      ["Launch digest", copied(matched.digest)],
      ["vCPUs", matched.vcpus],
      ["CPU", matched.cpu],
      ["SEV features", matched.sev_features],
    ])));
  } else if (report?.measurement) {
    parts.push(card("What was attested", facts([["Launch digest", copied(report.measurement)]])));
  }
  const counted = Object.entries(RESULTS).filter(([result]) => count(result) > 0)
    .map(([result, word]) => `${count(result)} ${word}`).join(", ");
  parts.push(card("What was checked, and what was not", el("p", { class: "faint" }, counted + "."),
    el("ul", { class: "checks" }, ...checks.map(check))));
  if (notes.length > 0) {
    parts.push(card("To know", el("ul", { class: "notes" }, ...notes.map((note) => el("li", {}, ...prose(note))))));
  }
  if (fields) parts.push(described(fields));
  const json = JSON.stringify(verdict, null, 2);
  parts.push(folded("The verdict as JSON", copy(json, "Copy JSON"), el("pre", { tabindex: "0" }, json)));
  put(parts, `${title}. ${told}`);
}

function broken({ says, causes, advice }, fields) {
  // A mistake in a policy comes with the line that it is in.
  const [first, ...lines] = says.split("\n");
  const parts = [banner("broken", "No answer", sentence(first), causes.map(sentence).join(" "))];
  if (lines.length > 0) parts.push(el("pre", { tabindex: "0" }, lines.join("\n")));
  if (advice.length > 0) {
    parts.push(card("What to do", el("ul", { class: "notes" }, ...advice.map((line) => el("li", {}, ...prose(line))))));
  }
  if (fields) parts.push(described(fields));
  put(parts, `No answer. ${sentence(first)}`);
}

function put(parts, said) {
  at("result").replaceChildren(...parts);
  at("result").hidden = false;
  say(said);
}

function say(text) {
  at("status").textContent = text;
}

function accepted(matched) {
  if (!matched) return VERDICTS["accepted"][1];
  const many = matched.vcpus === 1 ? "1 vCPU" : `${matched.vcpus} vCPUs`;
  return `The machine attests this release, launched with ${many}${matched.cpu ? ` of ${matched.cpu}` : ""}.`;
}

function banner(name, word, told, below) {
  const text = el("div", {}, el("h2", {}, word), el("p", {}, ...prose(told)));
  if (below) text.append(el("p", { class: "faint" }, ...prose(below)));
  return el("div", { class: `verdict ${name}` }, mark(name), text);
}

function reason({ code, says, advice }, means) {
  const told = means[code] ? [...prose(means[code]), " ", ...prose(says)] : prose(says);
  return el("li", {}, el("p", { class: "advice" }, ...prose(advice)), el("p", { class: "why" }, ...told),
    el("code", { class: "code" }, code));
}

function here(reasons) {
  const told = HERE.filter(([pattern]) => reasons.some(({ advice }) => pattern.test(advice ?? "")));
  return told.length === 0 ? [] : [el("ul", { class: "here" }, ...told.map(([, text]) => el("li", {}, ...prose(text))))];
}

function check({ check, result, says, reason }) {
  const known = Object.hasOwn(RESULTS, result) ? result : "unknown";
  const text = el("span", {}, el("b", {}, titled(check)), ...prose(says));
  if (reason) text.append(el("span", { class: "code mono" }, reason));
  return el("li", { class: known }, mark(known), text, el("span", { class: "word" }, RESULTS[known]));
}

// What a check is called, in words: `report-signature` is "Report signature".
function titled(check) {
  return upper(check.replaceAll("-", " ").replace(/\b(tcb|vmpl|svn|id)\b/g, (short) => short.toUpperCase()));
}

function diagnosed({ causes, searched }) {
  const title = "What was different at the launch";
  if (causes.length === 0) {
    return card(title, el("p", { class: "faint" }, `None of ${searched} launches near the release’s gives this digest.`));
  }
  const changes = causes.map(({ changes }) => el("li", {}, ...changes.flatMap((change) => [
    el("p", { class: "advice" }, ...prose(change.advice || change.says)),
    el("p", { class: "why" }, ...prose(change.says)),
    el("code", { class: "code" }, change.reason),
  ])));
  return card(title,
    el("p", { class: "faint" }, "Each of these alone makes the digest that was attested. None makes it a right one."),
    el("ul", { class: "reasons" }, ...changes));
}

function described(fields) {
  const rows = fields.map(({ field, value, means }) => el("tr", {},
    el("th", { scope: "row" }, field), el("td", { class: "value mono" }, text(value)), el("td", {}, means ?? "")));
  const head = ["Field", "Value", "What it means"].map((name) => el("th", { scope: "col" }, name));
  const table = el("table", { class: "fields" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
  return folded("The report, field by field", el("div", { class: "scroll" }, table));
}

// ---- Small things

function card(title, ...inside) {
  return el("section", { class: "card" }, el("h2", {}, title), ...inside);
}

function folded(title, ...inside) {
  return el("details", { class: "card" }, el("summary", {}, title), ...inside);
}

function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined);
  return el("dl", {}, ...known.flatMap(([name, value]) => [
    el("dt", {}, name), el("dd", {}, value instanceof Node ? value : text(value))]));
}

function copied(value) {
  return el("span", { class: "copied" }, el("code", {}, value), copy(value, "Copy"));
}

function copy(value, word) {
  const button = el("button", { type: "button" }, word);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(value);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed here";
    }
    setTimeout(() => { button.textContent = word; }, 1500);
  });
  return button;
}

function mark(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "mark");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", MARKS[name]);
  svg.append(path);
  return svg;
}

function text(value) {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

// A sentence, with what stands between backquotes in it as code.
function prose(words) {
  return sentence(words).split("`").map((part, index) => index % 2 === 1 ? el("code", {}, part) : part);
}

// What begins with a name (`hwID`, `policy.yaml:2:1`) keeps it as it is.
function sentence(words) {
  const begun = /^[a-z][a-z’'-]*[,;:]?(\s|$)/.test(words) ? upper(words) : words;
  return /[.?!]$/.test(begun) ? begun : begun + ".";
}

function upper(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function el(tag, attributes, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...inside.map((part) => part instanceof Node ? part : String(part)));
  return element;
}

// ---- A person

at("files").addEventListener("change", async (event) => {
  const files = [...event.target.files];
  event.target.value = "";
  await take(files);
});
at("challenge").addEventListener("change", settle);
at("time").addEventListener("change", settle);
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) at("drop").classList.remove("over");
});
// Anywhere: a file that misses the zone must not replace the page.
document.addEventListener("drop", dropped);

const WASM = "@WASM@";
const ready = start();
// Whoever asks is told; until then there is nobody to tell.
ready.catch(() => {});
