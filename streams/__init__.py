"""The river: topics, events, agents, and the front door (CLI, HTTP API).

     clicks.v1   purchases.v1   comments.v1      users.v1        items.v1 (read whole)
         │            │             │               │                │
         │            │           score ── classifier server         │
         │            │             ├──▶ scored-comments.v1 ─┐       ▼
         ▼            ▼             │                        │    catalog
        learn ◀────── dedupe by id ─┼────────────────────────┘       │
         │                          └──▶ sentiment.v1 ──▶ monitor ──▶ alerts.v1, webhook, Redis
         ├──▶ recommend ──▶ Redis topk:<tenant>:<user>
         └──▶ archive   ──▶ ClickHouse            (served.v1, alerts.v1 ──▶ archive)

    dead-letter.v1 ◀── any event that cannot be used, with its reason

Owns: what an event is, when it may be acknowledged (after its effect is in the checkpoint, and not
before), and which part talks to which. The learning itself is in `online`, the language models in
`models`, the clients in `infra`. `app.create_app` is the one place where the parts meet.
"""
