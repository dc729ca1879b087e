/* Sorting, filtering, Airflow's colour mode, links that lead out of the frame and the way back. The pages work without it. */
"use strict";

(() => {
  const root = document.documentElement;

  // Airflow keeps the person's choice of colours in the browser; a change in the page around us arrives as an event.
  const paint = () => {
    let theme = null;
    try {
      theme = window.localStorage.getItem("theme");
    } catch {
      // storage may be forbidden: the system's choice counts
    }
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  paint();
  window.addEventListener("storage", paint);

  // Airflow 3.2 opens the frame at its first page when a person comes back to it. So the entry that they leave in the browser's history
  // says where they were.
  const leave = () => window.parent.history.replaceState({ ...window.parent.history.state, slo: window.location.href }, "");
  const comeBack = () => {
    try {
      const { slo, ...state } = window.parent.history.state ?? {};
      if (window.parent === window || !slo) return;
      window.parent.history.replaceState(state, "");
      if (slo !== window.location.href) window.location.replace(slo);
    } catch {
      // another origin's frame: nothing was kept there
    }
  };
  comeBack();

  // Airflow shows us in a frame that may not move the page around it; a link of that page itself may.
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a.airflow, a.outside") : null;
    if (!link || window.parent === window || event.defaultPrevented || event.button !== 0) return;
    try {
      const out = window.parent.document.createElement("a");
      out.href = link.href;
      if (link.classList.contains("outside") || event.ctrlKey || event.metaKey || event.shiftKey) {
        out.target = "_blank";
        out.rel = "noreferrer";
      } else leave();
      window.parent.document.body.append(out);
      out.click();
      out.remove();
      event.preventDefault();
    } catch {
      // another origin's frame: the link opens here
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
    const words = new Map(rows.map((row) => [row, row.textContent.toLocaleLowerCase()]));

    // The server filtered already when the address says so; then other rows are only there after asking it again.
    const whole = ![...new URLSearchParams(window.location.search).values()].some((value) => value);

    const filter = () => {
      const asked = new FormData(form);
      const q = asked.get("q").toLocaleLowerCase();
      let count = 0;
      for (const row of rows) {
        const fits = ["status", "service", "tier"].every((key) => !asked.get(key) || asked.get(key) === row.dataset[key]);
        row.hidden = !(fits && words.get(row).includes(q));
        if (!row.hidden) count += 1;
      }
      shown.replaceChildren(`${count} of ${rows.length} shown; as of `, asOf);
    };
    if (whole) {
      form.addEventListener("input", filter);
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        filter();
      });
      filter(); // a browser may have kept what was typed before
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
        const sorted = [...rows].sort((one, two) => {
          const [a, b] = [keyOf(one, column, kind), keyOf(two, column, kind)];
          if (a === null || b === null) return (a === null) - (b === null); // unknown ones at the end either way
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
