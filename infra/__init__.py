"""The ground: settings, telemetry, and the clients of the parts we stand on.

Owns: reading the environment (once, in `settings`), logging and metric names, Kafka connection
values, the top-K store in Redis, the ClickHouse warehouse, alert delivery, health routes, and in
`local` the embedded parts. Does not own: any recommender or sentiment logic; nothing here knows
what an interaction is for. Words: sink (where rows end), warehouse (ClickHouse), serving (Redis).
"""
