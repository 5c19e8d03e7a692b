// Undo and redo over the last settings of the steering controls. They are kept in the browser: a press is then one more
// setting that is sent, and the last one sent wins, however quickly they follow each other.
() => {
  const LENGTH = 20, BURST = 800; // Slider movements closer than this, in ms, are one setting: a drag is undone in one step.
  let past = [], future = [], dropped = [], movedAt = -Infinity;
  const sorted = (set) => Object.entries(set).sort(([a], [b]) => (a < b ? -1 : 1));
  const bare = ({ set, at, again, ...rest }) => JSON.stringify({ ...rest, set: sorted(set) }); // without how it was sent
  const same = (a, b) => bare(a) === bare(b);
  // What a setting is but for its shares and strength.
  const still = ({ set, ...rest }) => ({ ...rest, strength: 1, set: Object.fromEntries(Object.entries(set).map(([t, [state, , locked]]) => [t, [state, locked]])) });
  const swap = (source, target, current) => {
    movedAt = -Infinity;
    if (!source.length) return current;
    target.push(current);
    return source.pop();
  };
  return {
    // Remember a change. Whatever was undone is then out of reach.  now: ms of a steady clock
    record: (before, after, now) => {
      if (same(before, after)) return;
      if (!(same(still(before), still(after)) && past.length && !future.length && now - movedAt < BURST)) past = [...past, before].slice(-LENGTH);
      [dropped, future, movedAt] = [future, [], now];
    },
    // The last change was refused, and `current` is in force again.
    refused: (current) => {
      if (past.length && same(past.at(-1), current)) [past, future] = [past.slice(0, -1), dropped];
    },
    undo: (current) => swap(past, future, current),
    redo: (current) => swap(future, past, current),
    can: () => ({ undo: past.length > 0, redo: future.length > 0 }),
  };
}
