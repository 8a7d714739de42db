"use strict";
if (matchMedia("(prefers-color-scheme: dark)").matches) document.documentElement.dataset.theme = "dark";
// The link that `mutewatch serve` prints has its secret behind the #: into the form with it, and out of the address.
function take() {
  const secret = location.hash.slice(1);
  if (!secret) return;
  history.replaceState(null, "", location.pathname);
  document.querySelector("#token").value = secret;
  document.querySelector("form").requestSubmit();
}
addEventListener("hashchange", take); // the link was put into the address of this page
take();
