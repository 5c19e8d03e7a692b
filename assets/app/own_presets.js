// A person's own presets, by name, in the storage of their browser; nothing of them is on the server.
// storage() → localStorage, which may throw. What comes back of save and remove is a sentence for the person.
(storage) => {
  const KEY = "atmoe-presets-1", ELSEWHERE = "Share a link to keep the settings.";
  const isMap = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
  const valid = (value) => isMap(value) && isMap(value.set) && typeof value.strength === "number" && typeof value.scope === "string" && Array.isArray(value.cells);
  // → {presets: Map of name → value or, where that is broken, null; trouble: a sentence}
  const read = () => {
    let text;
    try {
      text = storage().getItem(KEY);
    } catch {
      return { presets: new Map(), trouble: `This browser does not let the page keep presets. ${ELSEWHERE}` };
    }
    try {
      const data = JSON.parse(text ?? "{}");
      if (!isMap(data)) throw data;
      return { presets: new Map(Object.entries(data).map(([name, value]) => [name, valid(value) ? value : null])), trouble: "" };
    } catch {
      return { presets: new Map(), trouble: "The presets kept in this browser cannot be read. Saving a new one replaces them." };
    }
  };
  const write = (presets) => {
    try {
      storage().setItem(KEY, JSON.stringify(Object.fromEntries(presets)));
      return "";
    } catch {
      return `This browser kept nothing: its storage is full or forbidden. Delete a preset, or ${ELSEWHERE[0].toLowerCase()}${ELSEWHERE.slice(1)}`;
    }
  };
  return {
    read,
    save: (name, { set, strength, scope, cells }) => {
      if (!name) return "Give the preset a name first.";
      const { presets } = read(), known = presets.has(name);
      presets.set(name, { set, strength, scope, cells });
      return write(presets) || `“${name}” is kept in this browser${known ? ", in place of the one of that name" : ""}.`;
    },
    remove: (name) => {
      const { presets } = read();
      presets.delete(name);
      return write(presets) || `“${name}” is deleted.`;
    },
  };
}
