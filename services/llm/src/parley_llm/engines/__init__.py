"""One file per engine family, and what they share: HTTP faults and the chat-completions client."""
