"""Panels as typed data, and the local ops page that shows them.

Owns: what is worth looking at (`panels`), how a panel's data is read from ClickHouse and from the
workers' metrics (`live`, `metric_history`), alerts as people read them (`alerts`), and the page
itself (`ops_page`, `static/`). Does not own: Kafka, the events, or who may ask (the caller gives
`Ops.tenant_of`). Words: panel, series (one line of a chart), point, window (the time shown), step.
"""
