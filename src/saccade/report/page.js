"use strict";
// The page is complete without this script (English, every cost chart shown); the script adds choice.
(() => {
  const root = document.documentElement;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const remembered = (name) => { try { return localStorage.getItem("saccade-" + name); } catch { return null; } };
  const remember = (name, value) => { try { localStorage.setItem("saccade-" + name, value); } catch { /* not allowed */ } };

  // Language: texts stand in the page twice and are shown by CSS; attributes and the title are exchanged here.
  const exchanged = all("*").flatMap((element) =>
    [...element.attributes].filter((a) => a.name.startsWith("data-zh-")).map((a) => {
      const name = a.name.slice("data-zh-".length);
      return { element, name, en: element.getAttribute(name), zh: a.value };
    }));
  const title = document.querySelector("title");
  const titles = { en: title.textContent, zh: title.dataset.zh };
  const speak = (language) => {
    root.lang = language === "zh" ? "zh-Hans" : "en";
    document.title = titles[language];
    for (const one of exchanged) one.element.setAttribute(one.name, one[language]);
    for (const button of all("[data-language]")) button.setAttribute("aria-pressed", button.dataset.language === language);
  };
  for (const button of all("[data-language]")) {
    button.addEventListener("click", () => { speak(button.dataset.language); remember("language", button.dataset.language); });
  }
  const first = remembered("language") || ((navigator.language || "").toLowerCase().startsWith("zh") ? "zh" : "en");
  speak(first === "zh" ? "zh" : "en");

  // Theme: the system's, until the reader chooses.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = remembered("theme");
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  document.getElementById("theme").addEventListener("click", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    remember("theme", root.dataset.theme);
  });

  // One cost at a time.
  const tabs = all("[data-panel]");
  const choose = (tab) => tabs.forEach((other) => {
    other.setAttribute("aria-pressed", other === tab);
    document.getElementById(other.dataset.panel).hidden = other !== tab;
  });
  tabs.forEach((tab) => tab.addEventListener("click", () => choose(tab)));
  if (tabs.length) choose(tabs[0]);

  // Pointing at one seed dims the others.
  for (const chart of all(".seeds svg.plot")) {
    for (const seed of all(".seed", chart)) {
      seed.addEventListener("mouseenter", () => { chart.classList.add("chosen"); seed.classList.add("chosen"); });
      seed.addEventListener("mouseleave", () => { chart.classList.remove("chosen"); seed.classList.remove("chosen"); });
    }
  }

  // Pictures open large.
  const dialog = document.getElementById("large");
  for (const stack of all("button.stack")) {
    stack.addEventListener("click", () => {
      const copy = document.createElement("div");
      copy.className = stack.className;
      copy.setAttribute("style", stack.getAttribute("style") || "");
      copy.append(...[...stack.childNodes].map((node) => node.cloneNode(true)));
      dialog.querySelector("div").replaceChildren(copy);
      dialog.querySelector("p").textContent = copy.querySelector("img").alt;
      dialog.showModal();
    });
  }
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // The command, copied; where the clipboard is closed to files, at least selected.
  const copy = document.getElementById("copy");
  copy.addEventListener("click", async () => {
    const command = document.getElementById("command");
    getSelection().selectAllChildren(command);
    try { await navigator.clipboard.writeText(command.textContent); } catch { document.execCommand("copy"); }
    copy.classList.add("done");
    setTimeout(() => copy.classList.remove("done"), 2000);
  });
})();
