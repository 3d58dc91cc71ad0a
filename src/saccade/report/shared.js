"use strict";
// Language and theme, of every page.
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
})();
