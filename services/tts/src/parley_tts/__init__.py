"""The tts process of Parley: text to speech over gRPC."""
