"""Pure audio code: sample formats, streaming resampling, codecs, WAV files. No asyncio, no gRPC.

Import from the modules (`from parley_audio.pcm import AudioFormat`); this package exports nothing itself.
"""
