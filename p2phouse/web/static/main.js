// The beginning: the key to the node, the language, the page.
import {App} from "/app.js";
import {know} from "/faces.js";
import {start} from "/i18n.js";
import {listenForKeys} from "/keys.js";
import {Page} from "/page.js";
import {STREET_UIDS} from "/welcome.js";

// Security: the token stays out of the address, so neither history nor a shared screen shows it.
function takeToken() {
  const given = location.hash.slice(1);
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", "/");
  }
  return sessionStorage.getItem("token");
}

start();
await Promise.all(STREET_UIDS.map(know));
const app = new App(takeToken(), Page);
listenForKeys(app);
app.changed();
