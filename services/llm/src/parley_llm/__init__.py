"""The llm process: answers of a chat model, streamed over gRPC. Start it with `python -m parley_llm`."""
