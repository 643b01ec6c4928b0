"use strict";
// Before anything is drawn: the theme somebody chose, if they did.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch { /* no storage, no choice */ }
