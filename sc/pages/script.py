"""The page's script: the search over all runs, and nothing else; without it everything else is there.

It reads what `compact.py` writes, and puts names into the page as text only.
"""

SCRIPT = """
"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const about = read("about"), table = read("runs");
  const unpack = (packed) => {
    let before = "";
    return packed.map((one) => {
      const a = one.indexOf(" "), b = one.indexOf(" ", a + 1);
      const begin = +one.slice(0, a), end = +one.slice(a + 1, b);
      before = before.slice(0, begin) + one.slice(b + 1) + (end ? before.slice(-end) : "");
      return before;
    });
  };
  let paths = null, commands = null;
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
  const escaped = (path) => path.split("/").map(encodeURIComponent).join("/");
  const links = (path) => {
    const base = about.links.base;
    if (about.links.kind === "none" || path.startsWith("/") || path.includes("://")) return [];
    const names = about.links.kind === "folder" ? ["stdout", "stderr", "results"] : ["open"];
    return names.flatMap((name) => {
      const made = element("a", "", name);
      made.href = base + escaped(path) + (about.links.kind === "folder" ? "/" + name : "/");
      return [made, " "];
    });
  };
  const row = (i) => {
    const code = table.codes[i], made = element("tr");
    const kind = code === 0 ? "ok" : code > 0 ? "bad" : "open";
    const word = code === 0 ? "completed" : code > 0 ? "exit " + code : "incomplete";
    const number = table.numbers ? table.numbers[i] : i;
    made.append(
      cell("run", [String(number)], "num"),
      cell("status", [element("span", "tag " + kind, word)]),
      cell("time", [duration(table.seconds[i])], "num"),
      cell("path", [element("code", "", paths[i]), " ", ...links(paths[i])]),
      cell("command", [element("code", "", commands[i])]));
    return made;
  };
  const find = document.getElementById("find"), status = document.getElementById("status");
  const body = document.getElementById("found"), told = document.getElementById("told");
  const MOST = 100;
  const show = () => {
    paths = paths || unpack(table.paths);
    commands = commands || unpack(table.commands);
    const words = find.value.toLowerCase().split(/\\s+/).filter(Boolean), wanted = status.value;
    const made = [];
    let count = 0;
    for (let i = 0; i < paths.length; i++) {
      const code = table.codes[i];
      if (wanted === "failed" ? code <= 0 : wanted === "completed" ? code !== 0
          : wanted === "incomplete" ? code >= 0 : false) continue;
      if (words.length) {
        const text = (paths[i] + " " + commands[i]).toLowerCase();
        if (!words.every((word) => text.includes(word))) continue;
      }
      if (count++ < MOST) made.push(row(i));
    }
    body.replaceChildren(...made);
    told.textContent = count > MOST
      ? "the first " + MOST + " of " + count.toLocaleString("en") + " that match"
      : count.toLocaleString("en") + (count === 1 ? " run matches" : " runs match");
  };
  let timer = 0;
  const soon = () => { clearTimeout(timer); timer = setTimeout(show, 120); };
  find.addEventListener("input", soon);
  status.addEventListener("change", show);
  document.getElementById("search").hidden = false;
  show();
})();
"""
