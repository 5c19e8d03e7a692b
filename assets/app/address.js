// What is set, in the page's address as one goes: refresh, Back and Forward bring it back. The question is in it only after
// a yes, which this browser remembers. Without one it is kept where this tab alone has it, until it is closed, so that a
// refresh finds it. A page in a frame may have neither history nor storage: then it does without.
// window: the browser's; wrote: is called once something is written; REST: ms without a change after which that is done.
(window, wrote) => {
  const KEY = "atmoe-question-in-address-1", LEFT = "atmoe-left-1", REST = 400, { location } = window;
  const OURS = ["v", "set", "cells", "strength", "in", "on", "tokens", "temperature", "seed", "q"];
  const attempt = (what) => { try { return what(); } catch { return null; } };
  let answered = null, waiting = null, last = null;
  const agreed = () => answered ?? attempt(() => window.localStorage.getItem(KEY)) === "yes";
  const search = ({ query, question }) => {
    const asks = question && agreed() ? [`q=${encodeURIComponent(question)}`] : [];
    const set = query === "?v=2" && !asks.length ? [] : [query.slice(1), ...asks]; // nothing is set: nothing to say
    const others = location.search.slice(1).split("&").filter((part) => part && !OURS.includes(part.split("=")[0]));
    const parts = [...set, ...others];
    return parts.length ? `?${parts.join("&")}` : location.pathname;
  };
  const at = () => LEFT + location.pathname;
  const kept = () => JSON.parse(window.sessionStorage.getItem(at()));
  const keep = (left) => attempt(() => window.sessionStorage.setItem(at(), JSON.stringify(left)));
  const put = (how, to) => {
    const there = attempt(() => new window.URL(to, location.href));
    if (!there || there.search === location.search) return;
    attempt(() => window.history[how](null, "", there.pathname + there.search));
    wrote();
  };
  // `due` is the address to be. A page that is being loaded anew writes none, whatever it is told.
  const due = (to) => attempt(() => kept() && keep({ ...kept(), due: to }));
  const write = (how) => {
    if (!last) return;
    const to = search(last);
    due(to);
    put(how, to);
  };
  return {
    agreed,
    // What the page left in its tab before it was loaded anew, or was come back to; null where neither is so, or nothing
    // was left. An address that was not written yet is written first.
    remains: () => attempt(() => {
      const { type } = window.performance.getEntriesByType("navigation")[0];
      if (type !== "reload") due(null);
      if (type !== "reload" && type !== "back_forward") return null;
      const { due: to, ...left } = kept();
      if (to) put("pushState", to);
      return left;
    }),
    // The person's yes or no, in force at once.
    agree: (yes) => {
      answered = yes;
      attempt(() => window.localStorage.setItem(KEY, yes ? "yes" : "no"));
      write("replaceState");
    },
    // A state came to rest; quickly followed by another, only that one is written.
    settle: (state) => {
      last = state;
      keep({ question: state.question, name: state.name, due: search(state) });
      window.clearTimeout(waiting);
      waiting = window.setTimeout(() => write("pushState"), REST);
    },
    // The person went somewhere: what waits to be written is of before.
    left: () => {
      window.clearTimeout(waiting);
      due(null);
    },
  };
}
