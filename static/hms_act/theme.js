/* SPDX-License-Identifier: Apache-2.0 */
/* Follow the light or dark that was chosen with the admin's switch. Without this script the system's choice holds. */
(() => {
  try {
    const chosen = JSON.parse(localStorage.getItem("_x_adminTheme"));
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // No storage, or something else stored there: the system's choice holds.
  }
})();
