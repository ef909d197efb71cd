"use strict";
// Draws the figures of the page, in the colours of the reader's theme, and switches their views.
(function () {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 40rem)");
  const shown = {};
  const PAPER = 660;

  function theme(printing) {
    const night = dark.matches && !printing;
    return night
      ? { ink: "#e6edf3", quiet: "#9198a1", rule: "#30363d", paper: "#0d1117", raised: "#161b22", scale: "Viridis", reverse: false }
      : { ink: "#1f2328", quiet: "#59636e", rule: "#e3e8ed", paper: "#ffffff", raised: "#ffffff", scale: "YlGnBu", reverse: true };
  }

  function axis(own, colours, isY) {
    const title = Object.assign({ font: { size: 12, color: colours.quiet } }, own.title);
    if (isY) { title.standoff = 6; }
    return Object.assign(
      { gridcolor: colours.rule, linecolor: colours.rule, zerolinecolor: colours.rule, automargin: true, fixedrange: isY },
      own, { title: title });
  }

  function layout(figure, view, colours, printing) {
    const base = {
      autosize: true, paper_bgcolor: colours.paper, plot_bgcolor: colours.paper,
      font: { family: "system-ui, sans-serif", size: 12, color: colours.ink },
      margin: { t: 12, r: narrow.matches ? 8 : 24, b: 44, l: narrow.matches ? 44 : 60 },
      legend: { orientation: "h", y: -52 / (figure.height - 56), yanchor: "top", x: 0 },
      hoverlabel: { bgcolor: colours.raised, bordercolor: colours.rule, font: { color: colours.ink }, namelength: -1 },
      hovermode: "x", dragmode: narrow.matches ? false : "zoom",
    };
    base.showlegend = view.data.filter((own) => own.showlegend !== false && own.name).length > 1;
    // Paper is narrower than a window, and printing does not resize a plot.
    if (printing) { Object.assign(base, { autosize: false, width: PAPER, height: figure.height }); }
    const whole = Object.assign(base, view.layout);
    for (const name of Object.keys(whole)) {
      if (/^[xy]axis/.test(name)) { whole[name] = axis(whole[name], colours, name[0] === "y"); }
    }
    return whole;
  }

  // Counts are coloured by their logarithm: rare slow requests can be seen beside thousands of fast ones.
  function trace(own, colours) {
    if (own.meta !== "counts") { return own; }
    const z = own.z.map((row) => row.map((count) => (count ? Math.log10(count) : null)));
    return Object.assign({}, own, { z: z, customdata: own.z, colorscale: colours.scale, reversescale: colours.reverse });
  }

  function draw(figure, printing) {
    const view = figure.views[Math.min(shown[figure.id] || 0, figure.views.length - 1)];
    const colours = theme(printing);
    return Plotly.react(figure.id, view.data.map((own) => trace(own, colours)), layout(figure, view, colours, printing),
      { displayModeBar: false, responsive: true });
  }

  function choose(name, at) {
    for (const figure of figures) {
      const same = figure.group ? figure.group === name : figure.id === name;
      if (!same) { continue; }
      const wanted = figure.views.findIndex((view) => view.name === at);
      if (wanted >= 0) { shown[figure.id] = wanted; draw(figure); }
    }
    for (const element of document.querySelectorAll("[data-group]")) {
      if (element.dataset.group !== name) { continue; }
      if (element.tagName === "SELECT") { element.value = at; }
      if (element.tagName === "BUTTON") { element.setAttribute("aria-pressed", String(element.dataset.view === at)); }
    }
  }

  function button(name, view, first) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = view.name;
    made.dataset.group = name;
    made.dataset.view = view.name;
    made.setAttribute("aria-pressed", String(first));
    made.addEventListener("click", () => choose(name, view.name));
    return made;
  }

  function menu(name, views) {
    const made = document.createElement("select");
    made.dataset.group = name;
    made.setAttribute("aria-label", "what the plot shows");
    for (const view of views) {
      const option = document.createElement("option");
      option.textContent = option.value = view.name;
      made.append(option);
    }
    made.addEventListener("change", () => choose(name, made.value));
    return made;
  }

  for (const figure of figures) {
    const place = document.querySelector('.choice[data-for="' + figure.id + '"]');
    const name = figure.group || figure.id;
    if (figure.views.length > 6) { place.append(menu(name, figure.views)); }
    else if (figure.views.length > 1) { place.append(...figure.views.map((view, i) => button(name, view, i === 0))); }
  }

  const all = (printing) => Promise.all(figures.map((figure) => draw(figure, printing)));
  dark.addEventListener("change", () => all(false));
  narrow.addEventListener("change", () => all(false));
  window.addEventListener("beforeprint", () => all(true));
  window.addEventListener("afterprint", () => all(false));

  // One after the other, so that the first is there at once and the page can be scrolled meanwhile.
  (async function () {
    for (const figure of figures) {
      await draw(figure, false);
      await new Promise((go) => setTimeout(go, 0));
    }
    document.documentElement.dataset.drawnAfterMs = String(Math.round(performance.now()));
    document.documentElement.dataset.drawn = String(figures.length);
  })();
})();
