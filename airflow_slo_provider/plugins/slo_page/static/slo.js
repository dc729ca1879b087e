/* Sorting, filtering, Airflow's colour mode, links that leave the frame and the return to the last page. The pages work without it. */
"use strict";

(() => {
  const root = document.documentElement;

  // Airflow stores the user's colour mode in the browser; a change in Airflow's own page arrives as an event.
  const applyTheme = () => {
    let theme = null;
    try {
      theme = window.localStorage.getItem("theme");
    } catch {
      // storage may be forbidden: the colour mode of the system applies
    }
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  applyTheme();
  window.addEventListener("storage", applyTheme);

  // Airflow 3.2 opens the frame at its first page when a user returns to it. The entry in the browser's history therefore stores the
  // page that the user left.
  const rememberPage = () => window.parent.history.replaceState({ ...window.parent.history.state, slo: window.location.href }, "");
  const restorePage = () => {
    try {
      const { slo, ...state } = window.parent.history.state ?? {};
      if (window.parent === window || !slo) return;
      window.parent.history.replaceState(state, "");
      if (slo !== window.location.href) window.location.replace(slo);
    } catch {
      // the frame of another origin: nothing is stored there
    }
  };
  restorePage();

  // A frame may not navigate Airflow's page, but a link inside that page may.
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a.airflow, a.outside") : null;
    if (!link || window.parent === window || event.defaultPrevented || event.button !== 0) return;
    try {
      const copy = window.parent.document.createElement("a");
      copy.href = link.href;
      if (link.classList.contains("outside") || event.ctrlKey || event.metaKey || event.shiftKey) {
        copy.target = "_blank";
        copy.rel = "noreferrer";
      } else rememberPage();
      window.parent.document.body.append(copy);
      copy.click();
      copy.remove();
      event.preventDefault();
    } catch {
      // the frame of another origin: the link opens here
    }
  });

  const start = () => {
    const table = document.getElementById("slos");
    const form = document.getElementById("filters");
    if (!table || !form) return;
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const shown = document.getElementById("shown");
    const asOf = shown.querySelector("time");
    const texts = new Map(rows.map((row) => [row, row.textContent.toLocaleLowerCase()]));

    // If the URL holds filters, the server has sent only the matching rows, and a change of the filters needs a new request.
    const isComplete = ![...new URLSearchParams(window.location.search).values()].some((value) => value);

    const filter = () => {
      const filters = new FormData(form);
      const q = filters.get("q").toLocaleLowerCase();
      let count = 0;
      for (const row of rows) {
        const fits = ["status", "service", "tier"].every((key) => !filters.get(key) || filters.get(key) === row.dataset[key]);
        row.hidden = !(fits && texts.get(row).includes(q));
        if (!row.hidden) count += 1;
      }
      shown.replaceChildren(`${count} of ${rows.length} shown; as of `, asOf);
    };
    if (isComplete) {
      form.addEventListener("input", filter);
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        filter();
      });
      filter(); // a browser may restore what was typed before
    }

    const keyOf = (row, column, kind) => {
      const text = row.cells[column].dataset.v ?? "";
      return kind === "text" ? text : text === "" ? null : Number(text);
    };
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const kind = head.dataset.sort;
      if (!kind) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const sorted = [...rows].sort((first, second) => {
          const [a, b] = [keyOf(first, column, kind), keyOf(second, column, kind)];
          if (a === null || b === null) return (a === null) - (b === null); // unknown values come last in both directions
          const order = kind === "text" ? a.localeCompare(b) : a - b;
          return down ? -order : order;
        });
        body.append(...sorted);
      });
    });
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
