"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
for (const [name, figure] of Object.entries(figures)) {
  const place = document.getElementById("chart-" + name);
  place.style.height = `${figure.layout.height}px`; // Else a narrower window takes its height.
  Plotly.newPlot(place, figure.data, figure.layout, { displayModeBar: false, responsive: true });
}
