"""The same question, asked of the other models that are served beside this page's own."""
