"""Other libraries in the same turn and the same load test: `python -m bench peers --vs pipecat --vs livekit-agents`."""
