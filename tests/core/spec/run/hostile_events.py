"""Lines that somebody may hand us as a run's events; none of them is one."""

from __future__ import annotations

HOSTILE_LINES = (
    b'{"v":1,"kind":"metrics","time":1.0,"step":1,"values":{"train/loss":null}}',
    b'{"v":1,"kind":"metrics","time":1.0,"step":1,"values":{"train/loss":[1]}}',
    b'{"v":1,"kind":"metrics","time":1.0,"step":1,"values":{"train/loss":{}}}',
    b'{"v":1,"kind":"metrics","time":1.0,"step":1,"values":{"train/loss":"fast"}}',
    b'{"v":1,"kind":"metrics","time":1.0,"step":1,"values":{"train/loss":' + b"9" * 400 + b"}}",
    b'{"v":1,"kind":"metrics","time":1.0,"step":1,"values":{"train/loss":' + b"9" * 5000 + b"}}",
    b'{"v":1,"kind":"metrics","time":1.0,"step":1,"values":{"' + b"n" * 300 + b'":1.0}}',
    b'{"v":1,"kind":"metrics","time":1.0,"step":"1","values":{}}',
    b'{"v":1,"kind":"metrics","time":1.0,"step":null,"values":{}}',
    b'{"v":1,"kind":"metrics","time":1.0,"step":true,"values":{}}',
    b'{"v":1,"kind":"metrics","time":1.0,"step":1.5,"values":{}}',
    b'{"v":1,"kind":"metrics","time":1.0,"step":-1,"values":{}}',
    b'{"v":1,"kind":"metrics","time":1.0,"step":1180591620717411303424,"values":{}}',
    b'{"v":1,"kind":"metrics","time":1e300,"step":1,"values":{}}',
    b'{"v":1,"kind":"evaluated","time":NaN,"step":1,"values":{}}',
    b'{"v":1,"kind":"run_started","time":1.0,"step":0,"total_steps":1180591620717411303424,"config_digest":"x"}',
    b'{"v":1,"kind":"run_started","time":1.0,"step":0,"total_steps":"x","config_digest":"x"}',
    b'{"v":1,"kind":"run_started","time":1.0,"step":0,"total_steps":9,"config_digest":7}',
    b'{"v":1,"kind":"run_finished","time":"x","step":1,"outcome":"done"}',
    b'{"v":1,"kind":"run_finished","time":1.0,"step":1,"outcome":"exploded"}',
    b'{"v":1,"kind":"run_finished","time":1.0,"step":1,"outcome":["done"]}',
    b'{"v":1,"kind":"run_failed","time":1.0,"step":1,"error":"E","message":5}',
    b'{"v":1,"kind":"checkpoint_saved","time":1.0,"step":1,"name":"step-1","best":"yes"}',
    b'{"v":1,"kind":"log","time":1.0,"level":"shout","message":"x"}',
    b'{"v":1,"kind":"sample","time":1.0,"step":1,"what":"retrieval","content":' + b"[" * 90 + b"]" * 90 + b"}",
    b'{"v":1,"kind":"sample","time":1.0,"step":1,"what":"retrieval","content":{"a":' + b"[" * 90 + b"]" * 90 + b"}}",
    b'{"v":1,"kind":["log"],"time":1.0}',
    b"[" * 200_000,
)
