// Keeps the fixed shares possible while a person moves one: their sum stays at most 100%, and exactly 100% where
// every group is fixed. It runs in the browser, since a round trip to the server would undo keyboard steps.
// moved: index of the group; dragged: its slider moved (else its state changed); values: all states, then all shares.
(moved, dragged, values) => {
  const n = values.length / 2, states = values.slice(0, n), shares = values.slice(n).map(Number);
  if (dragged) states[moved] = "fixed";
  const held = states.map((_, i) => i).filter((i) => i !== moved && states[i] === "fixed");
  const everyone = held.length === n - 1, taken = held.reduce((sum, i) => sum + shares[i], 0);
  if (states[moved] !== "fixed") return [...states, ...shares];
  if (!dragged || !held.length) {
    // Newly fixed, it takes what the others leave; alone in the world, it must take all.
    shares[moved] = everyone ? 100 - taken : Math.min(shares[moved], 100 - taken);
  } else if (everyone || taken > 100 - shares[moved]) {
    // The others give or take in proportion; whole percents go to the largest remainders.
    const room = 100 - shares[moved];
    const exact = held.map((i) => (taken > 0 ? (shares[i] * room) / taken : room / held.length));
    held.forEach((i, k) => (shares[i] = Math.floor(exact[k])));
    let left = room - held.reduce((sum, i) => sum + shares[i], 0);
    const byRemainder = held.map((_, k) => k).sort((a, b) => (exact[b] % 1) - (exact[a] % 1));
    for (const k of byRemainder) if (left-- > 0) shares[held[k]] += 1;
  }
  return [...states, ...shares];
}
