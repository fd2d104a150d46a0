// Tokens: which check, or which entry of the grant, allows or refuses an action.

import { post } from "./api.js";
import { announce, field, h, heading } from "./dom.js";

const ACTIONS = ["subscribe", "publish", "history", "presence", "enter", "reply", "manage", "operate"];

export function show(main) {
  const token = h("input", { type: "password", autocomplete: "off", spellcheck: "false", placeholder: "none: as an anonymous peer" });
  const action = h("select", null, ...ACTIONS.map((each) => h("option", null, each)));
  const topic = h("input", { autocomplete: "off", spellcheck: "false", value: "demo" });
  const url = h("input", { autocomplete: "off", spellcheck: "false", placeholder: "https://…/sse/news?exp=…&sig=…" });
  const answer = h("div", { "aria-live": "polite" });
  const questions = new Map();
  const ask = async (submitted) => {
    submitted.preventDefault();
    const body = url.value.trim() ? { url: url.value.trim() } : { action: action.value, topic: topic.value };
    if (token.value && !body.url) body.token = token.value;
    try {
      const explanation = await post("auth/explain", body);
      questions.set(body.url ?? `${body.action} ${body.topic}`, explanation);
      answer.replaceChildren(...[...questions].reverse().map(([question, each]) => explained(question, each)));
    } catch (error) {
      announce(error.message, true);
    }
  };
  main.append(
    heading("Tokens"),
    h("p", null, "Ask why a token allows or refuses something. The daemon neither logs nor returns it. Repeat the question with other topics to simulate what its owner may do."),
    h("form", { class: "card", onsubmit: ask },
      field("Token", token),
      h("div", { class: "row" }, field("Action", action), field("Topic", topic, "A channel or a pattern; for operate an operation, such as metrics or kick.")),
      field("Or a signed URL", url, "It says itself what it asks for."),
      h("div", { class: "actions" }, h("button", { type: "submit" }, "Explain"))),
    answer,
  );
}

function explained(question, { allow, code, check, claim, pattern, message, sub, issuer }) {
  const facts = { check, claim, pattern, code, subject: sub, issuer };
  const pairs = Object.entries(facts).filter(([, value]) => value).flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]);
  return h("section", { class: "card" },
    h("div", { class: "heading" }, h("h2", null, question), h("span", { class: `badge ${allow ? "good" : "bad"}` }, allow ? "allowed" : "refused")),
    h("p", null, message), h("dl", { class: "pairs" }, ...pairs));
}
