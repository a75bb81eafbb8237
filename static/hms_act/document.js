// SPDX-License-Identifier: Apache-2.0
// Beside a document's text: a click on a fault's line number selects that line. Without this script, nothing is missing
// but the click.
(() => {
  const text = document.getElementById("id_text");
  if (!text) return;
  const select = (number) => {
    const lines = text.value.split("\n");
    const start = lines.slice(0, number - 1).reduce((sum, line) => sum + line.length + 1, 0);
    text.focus();
    text.setSelectionRange(start, start + (lines[number - 1] || "").length);
    const height = text.scrollHeight / Math.max(lines.length, 1);
    text.scrollTop = Math.max(0, (number - 4) * height);
  };
  for (const link of document.querySelectorAll("[data-line]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      select(Number(link.dataset.line));
    });
  }
})();
