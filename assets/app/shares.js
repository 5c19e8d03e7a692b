// Keeps the fixed shares of siblings (all groups, or one group's experts) possible while a person changes one: their
// sum stays at most 100%, and exactly 100% where every sibling is fixed. What is locked is left alone; where that makes
// the change impossible, the one that was changed goes back as far as it must, and a sentence says why.
// siblings: [{name, state, share, locked}]; moved: index of the changed one; dragged: its share was (else its state).
// → {siblings, refusal}
(siblings, moved, dragged) => {
  siblings = siblings.map((one) => ({ ...one }));
  const one = siblings[moved], sum = (some) => some.reduce((total, { share }) => total + share, 0);
  if (dragged) one.state = "fixed";
  if (one.state !== "fixed") return { siblings: siblings.map((s) => (s === one ? { ...s, locked: false } : s)), refusal: "" };
  const held = siblings.filter((s) => s !== one && s.state === "fixed"), everyone = held.length === siblings.length - 1;
  const locked = held.filter((s) => s.locked), free = held.filter((s) => !s.locked);
  const room = 100 - sum(locked), wanted = one.share;
  if (!dragged) one.share = everyone ? room - sum(free) : Math.min(wanted, room - sum(free));
  else if (everyone && !free.length) one.share = room;
  else one.share = Math.min(wanted, room);
  if (dragged && free.length && (everyone || sum(free) > room - one.share)) {
    // The others give or take in proportion; whole percents go to the largest remainders.
    const taken = sum(free), rest = room - one.share;
    const exact = free.map(({ share }) => (taken > 0 ? (share * rest) / taken : rest / free.length));
    free.forEach((s, k) => (s.share = Math.floor(exact[k])));
    let left = rest - sum(free);
    const byRemainder = free.map((_, k) => k).sort((a, b) => (exact[b] % 1) - (exact[a] % 1));
    for (const k of byRemainder) if (left-- > 0) free[k].share += 1;
  }
  if (!dragged || one.share === wanted) return { siblings, refusal: "" };
  const names = locked.map(({ name }) => name).join(" and ");
  const refusal = siblings.length === 1 ? `${one.name} has no other beside it, so fixed it has 100%.`
    : locked.length ? `${names} ${locked.length > 1 ? "are" : "is"} locked at ${100 - room}%, which leaves ${one.share}% for ${one.name}. Unlock to give it another share.`
    : `All others are off or fixed, so ${one.name} has ${one.share}%.`;
  return { siblings, refusal };
}
