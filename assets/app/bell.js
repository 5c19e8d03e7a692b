// Whatever rings while the server is being asked is asked about once more: the last word is of now.
window.atmoeBell?.abort(); // Gradio may build this component anew.
const { signal } = (window.atmoeBell = new AbortController());
document.addEventListener("atmoe:done", () => trigger("rung"), { signal });
