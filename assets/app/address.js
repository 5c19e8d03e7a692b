// What is set, in the page's address as one goes: refresh, Back and Forward bring it back. The question is in it only after
// a yes, which this browser remembers. Without one it is kept where this tab alone has it, until it is closed, so that a
// refresh finds it. A page in a frame may have neither history nor storage: then it does without.
// window: the browser's; wrote: is called once something is written; REST: ms without a change after which that is done.
(window, wrote) => {
  const KEY = "atmoe-question-in-address-1", LEFT = "atmoe-left-1", REST = 400, { location } = window;
  const OURS = ["v", "set", "cells", "strength", "in", "on", "tokens", "temperature", "seed", "q"];
  const attempt = (what) => { try { return what(); } catch { return null; } };
  let answered = null, due = null, last = null;
  const agreed = () => answered ?? attempt(() => window.localStorage.getItem(KEY)) === "yes";
  const search = ({ query, question }) => {
    const asks = question && agreed() ? [`q=${encodeURIComponent(question)}`] : [];
    const set = query === "?v=2" && !asks.length ? [] : [query.slice(1), ...asks]; // nothing is set: nothing to say
    const others = location.search.slice(1).split("&").filter((part) => part && !OURS.includes(part.split("=")[0]));
    const parts = [...set, ...others];
    return parts.length ? `?${parts.join("&")}` : location.pathname;
  };
  const write = (how) => {
    if (!last) return;
    const there = attempt(() => new window.URL(search(last), location.href));
    if (!there || there.search === location.search) return;
    attempt(() => window.history[how](null, "", there.pathname + there.search));
    wrote();
  };
  return {
    agreed,
    // What a page that was loaded anew left in its tab; null where it was not, or left nothing.
    remains: () => attempt(() => {
      const { type } = window.performance.getEntriesByType("navigation")[0];
      return type === "reload" ? JSON.parse(window.sessionStorage.getItem(LEFT + location.pathname)) : null;
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
      const left = JSON.stringify({ question: state.question, name: state.name });
      attempt(() => window.sessionStorage.setItem(LEFT + location.pathname, left));
      window.clearTimeout(due);
      due = window.setTimeout(() => write("pushState"), REST);
    },
    // The person went somewhere: what waits to be written is of before.
    left: () => window.clearTimeout(due),
  };
}
