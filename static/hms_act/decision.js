/* SPDX-License-Identifier: Apache-2.0 */
/* What the decision page does better with a script; without it everything can be done as well.
   - Once somebody who may decide has the page before them, and not when it is fetched beforehand, it says so.
   - A form is sent once, however often its button is pressed before the answer comes.
   - What is written is kept as a draft once its writer pauses; secrets are never sent along.
   - Whoever writes in the page under their own claim renews it, every few minutes and only then. */
(() => {
  const form = document.getElementById("decision-form");
  if (!form) return;

  const patience = 5000; // milliseconds; whoever presses again after that means it, and the server records it once
  let sentAt = -Infinity;
  form.addEventListener("submit", (event) => {
    if (performance.now() - sentAt < patience) event.preventDefault();
    else sentAt = performance.now();
  });
  addEventListener("pageshow", () => { sentAt = -Infinity; }); // a browser may bring back the page as it was left

  if (form.dataset.seen) {
    if (document.visibilityState === "visible") tellSeen();
    else document.addEventListener("visibilitychange", tellSeen, { once: true });
  }

  function tellSeen() {
    const token = form.elements.csrfmiddlewaretoken.value;
    fetch(form.dataset.seen, {
      method: "POST",
      redirect: "error",
      headers: { Accept: "application/json" },
      body: new URLSearchParams({ csrfmiddlewaretoken: token }),
    }).catch(() => {}); // it is not needed to decide, and the next look says it again
  }

  const pause = 3000; // milliseconds without a key after which the draft is kept
  const draftSays = document.getElementById("draft-says");
  let keeping;
  form.addEventListener("input", () => {
    clearTimeout(keeping);
    keeping = setTimeout(keepDraft, pause);
  });

  async function keepDraft() {
    if (sentAt > 0) return; // the decision is on its way
    const written = new FormData(form);
    for (const field of form.querySelectorAll("input[type=password], [data-secret]")) written.delete(field.name);
    try {
      const answer = await fetch(form.dataset.draft, {
        method: "POST",
        redirect: "error",
        headers: { Accept: "application/json" },
        body: new URLSearchParams(written),
      });
      const told = await answer.json();
      draftSays.textContent = answer.ok ? told.said : told.detail || "";
    } catch {
      // No connection, or logged out: what is written stands in the page, and is kept with the next pause.
    }
  }

  const claim = document.getElementById("claim");
  if (!claim) return;
  const says = document.getElementById("claim-says");
  const until = document.getElementById("claim-until");
  const renewAfter = Number(claim.dataset.renewAfter) * 1000;
  let renewedAt = Date.now();

  form.addEventListener("input", () => {
    if (document.hasFocus() && Date.now() - renewedAt >= renewAfter) renew();
  });

  async function renew() {
    renewedAt = Date.now(); // also if it fails: the next try is due after the same time
    try {
      const answer = await fetch(location.pathname, {
        method: "POST",
        redirect: "error",
        headers: { Accept: "application/json" },
        body: new URLSearchParams({ renew: "1", csrfmiddlewaretoken: form.elements.csrfmiddlewaretoken.value }),
      });
      const told = await answer.json();
      if (answer.ok) {
        until.textContent = told.shown;
        until.dateTime = told.expires_at;
      } else if (told.detail) {
        says.textContent = told.detail;
      }
    } catch {
      // No connection, or logged out. The claim then ends in its time, and a decision sent later says so.
    }
  }
})();
