"use strict";
// The page is complete without this script (English, every cost chart shown); the script adds choice.
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
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
