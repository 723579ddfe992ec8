"""What can be scored: transformers models and adapters, GGUF files, OpenAI-compatible servers."""
