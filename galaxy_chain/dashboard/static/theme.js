// Light or dark, before anything is drawn: as the reader has chosen here, else as the system says.
"use strict";

(() => {
  const KEY = "galaxy-theme";
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  const kept = () => {
    try {
      const value = window.localStorage.getItem(KEY);
      return value === "dark" || value === "light" ? value : null;
    } catch {
      return null; // where storage is forbidden the choice lasts as long as the page
    }
  };

  let chosen = kept();
  const current = () => chosen ?? (system.matches ? "dark" : "light");

  const apply = () => {
    document.documentElement.dataset.theme = current();
    const button = document.getElementById("theme");
    if (button) {
      const other = current() === "dark" ? "light" : "dark";
      button.textContent = other === "dark" ? "Dark" : "Light";
      button.setAttribute("aria-label", `Switch to ${other} colours`);
    }
    window.dispatchEvent(new Event("galaxy-theme"));
  };

  apply();
  system.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      chosen = current() === "dark" ? "light" : "dark";
      try {
        window.localStorage.setItem(KEY, chosen);
      } catch {
        // see above
      }
      apply();
    });
  });
})();
