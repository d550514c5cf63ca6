"""The asr process: speech to text over gRPC (`parley.asr.v1.RecognitionService`).

Reading order: `ports` (what an engine is), `recognition` (one live recognition), `servicer` (the wire),
`bootstrap`.
"""
