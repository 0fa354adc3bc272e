"""The embedded parts: broker, Valkey, ClickHouse gateway and webhook receiver, supervised.

Owns: child processes (`supervisor`), what each part is started with, and `stack.LocalStack`, which
starts them together on free loopback ports over one data directory. Does not own: topics and
tables (their makers are called by the commands), nor any client of a part. Words: part (one
process), ready (it answers), announced (it said so in one JSON line).
"""
