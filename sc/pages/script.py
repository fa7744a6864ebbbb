"""The page's script: the search over all runs, and nothing else; without it everything else is there.

It reads what `compact.py` writes, and puts names into the page as text only.
"""

SCRIPT = """
"use strict";
(() => {
  const about = JSON.parse(document.getElementById("about").textContent);
  const unpack = async () => {
    const packed = atob(document.getElementById("runs").textContent);
    const bytes = Uint8Array.from(packed, (one) => one.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse("[" + await new Response(stream).text() + "]");
  };
  const duration = (s) => {
    if (s < 0) return "\\u2013";
    if (s < 9.95) return s.toFixed(1) + " s";
    const m = Math.floor(Math.round(s) / 60), h = Math.floor(m / 60);
    if (m < 1) return Math.round(s) + " s";
    if (h < 1) return m + " min " + (Math.round(s) % 60) + " s";
    return h + " h " + (m % 60) + " min";
  };
  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const cell = (label, content, className) => {
    const made = element("td", className);
    made.dataset.label = label;
    made.append(...content);
    return made;
  };
  const escaped = (path) => {
    try { return path.split("/").map(encodeURIComponent).join("/"); } catch (error) { return null; }
  };
  const links = (path) => {
    const base = about.links.base;
    const isElsewhere = path.startsWith("/") || path.includes("://");
    if (about.links.kind === "none" || isElsewhere || escaped(path) === null) return [];
    const names = about.links.kind === "folder" ? ["stdout", "stderr", "results"] : ["open"];
    return names.flatMap((name) => {
      const made = element("a", "", name);
      made.href = base + escaped(path) + (about.links.kind === "folder" ? "/" + name : "/");
      return [made, " "];
    });
  };
  const row = ([number, path, command, code, seconds]) => {
    const made = element("tr");
    const kind = code === 0 ? "ok" : code === -1 ? "open" : "bad";
    const word = code === 0 ? "completed" : code > 0 ? "exit " + code
      : code === -1 ? "incomplete" : "not stored";
    made.append(
      cell("run", [String(number)], "num"),
      cell("status", [element("span", "tag " + kind, word)]),
      cell("time", [duration(seconds)], "num"),
      cell("path", [element("code", "", path), " ", ...links(path)]),
      cell("command", [element("code", "", command)]));
    return made;
  };
  const find = document.getElementById("find"), status = document.getElementById("status");
  const body = document.getElementById("found"), told = document.getElementById("told");
  const MOST = matchMedia("(max-width: 680px)").matches ? 20 : 50;
  let rows = [];
  const show = () => {
    const words = find.value.toLowerCase().split(/\\s+/).filter(Boolean), wanted = status.value;
    const made = [];
    let count = 0;
    for (const one of rows) {
      const code = one[3];
      if (wanted === "failed" ? code <= 0 : wanted === "completed" ? code !== 0
          : wanted === "not_stored" ? code >= -1 : wanted === "incomplete" ? code !== -1 : false) continue;
      if (words.length) {
        const text = (one[1] + " " + one[2]).toLowerCase();
        if (!words.every((word) => text.includes(word))) continue;
      }
      if (count++ < MOST) made.push(row(one));
    }
    body.replaceChildren(...made);
    told.textContent = count > MOST
      ? "the first " + MOST + " of " + count.toLocaleString("en") + " that match"
      : count.toLocaleString("en") + (count === 1 ? " run matches" : " runs match");
  };
  let timer = 0;
  find.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(show, 120); });
  status.addEventListener("change", show);
  document.getElementById("search").hidden = false;
  told.textContent = "reading…";
  unpack().then((found) => { rows = found; show(); document.body.dataset.ready = "yes"; },
    () => { told.textContent = "this browser is too old for the search"; });
})();
"""
