"""The worked example of docs/adding-a-read-model.md."""
