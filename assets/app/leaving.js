// Gradio ends its streams as soon as somebody sets out for another page, takes them for broken, and loads itself anew two
// seconds later: who leaves for a slow page stays. Heard before Gradio listens; a browser ends streams itself, in time.
window.addEventListener("beforeunload", (event) => event.stopImmediatePropagation());
