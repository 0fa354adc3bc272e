"""Every metric of the worker and the API, named in one file.

Prometheus rules: base units, `_total` for counters, no user or item id as a label. Dashboards
import the names from here, so that renaming one breaks a test, not a panel at night.
"""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

QUEUE_DEPTH = "springtide_queue_depth"
EXPLORE_ITEMS = "springtide_explore_items"
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class WorkerMetrics:
    """What a worker counts. One instance a process; tests give their own registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.events = Counter(
            "springtide_events_total", "Events taken from Kafka", ["topic"], registry=registry
        )
        self.learned = Counter(
            "springtide_learned_total", "Interactions the learner took in", registry=registry
        )
        self.duplicates = Counter(
            "springtide_duplicates_total", "Events with an id met before", registry=registry
        )
        self.ignored = Counter(
            "springtide_ignored_total", "Events of users who opted out", registry=registry
        )
        self.dead_letters = Counter(
            "springtide_dead_letters_total", "Unusable events", ["topic"], registry=registry
        )
        self.deltas = Counter(
            "springtide_deltas_total",
            "Increments and rows of factors taken from other workers",
            ["what"],
            registry=registry,
        )
        self.deltas_torn = Gauge(
            "springtide_deltas_torn",
            "Partitions of others of which increments never came: a restart sums them anew",
            registry=registry,
        )
        self.without_vector = Gauge(
            "springtide_items_without_vector",
            "Items compared by words and tags alone: no vector of their text yet",
            registry=registry,
        )
        self.vectors = Counter(
            "springtide_item_vectors_total",
            "Vectors of items: taken, of another model, or refused by the server",
            ["outcome"],
            registry=registry,
        )
        self.embed_failures = Counter(
            "springtide_embed_failures_total", "Times the model server made no vectors",
            registry=registry,
        )  # fmt: skip
        self.lists = Counter(
            "springtide_lists_written_total", "Lists that Redis took", registry=registry
        )
        self.lists_refused = Counter(
            "springtide_lists_refused_total", "Lists older than the stored one", registry=registry
        )
        self.freshness = Histogram(
            "springtide_freshness_seconds",
            "From the broker's append of an event to Redis's answer for its list",
            buckets=SECONDS,
            registry=registry,
        )
        self.scored = Counter(
            "springtide_comments_scored_total", "Comments scored", ["label"], registry=registry
        )
        self.scored_late = Counter(
            "springtide_comments_late_total",
            "Comments that the classifier had no time for: scored by its n-gram expert",
            registry=registry,
        )
        self.score_seconds = Histogram(
            "springtide_score_batch_seconds",
            "A batch of comments at the classifier",
            buckets=SECONDS,
            registry=registry,
        )
        self.alerts = Counter(
            "springtide_alerts_total", "Alerts by state", ["state"], registry=registry
        )
        self.alert_failures = Counter(
            "springtide_alert_delivery_failures_total", "Alerts a receiver did not take",
            registry=registry,
        )  # fmt: skip
        self.keys_refused = Counter(
            "springtide_keys_refused_total",
            "Comments on items or topics that the monitor has no room for",
            registry=registry,
        )
        self.held = Gauge(
            "springtide_items_held", "Items out of the lists: in a severe incident",
            registry=registry,
        )  # fmt: skip
        self.explore_items = Gauge(
            EXPLORE_ITEMS, "New items: exploring, waiting or done", ["state"],
            registry=registry,
        )  # fmt: skip
        self.explore_views = Counter(
            "springtide_explore_views_total", "Views of new items", registry=registry
        )
        self.explore_ndcg = Counter(
            "springtide_explore_ndcg_total",
            "NDCG@10 summed over events, of lists without explored slots and expected with them",
            ["list"],
            registry=registry,
        )
        self.by_age = Counter(
            "springtide_items_by_age_total",
            "Items in lists (every eighth, its first ten), viewed and bought, by age",
            ["what", "age"],
            registry=registry,
        )
        self.first_list = Histogram(
            "springtide_first_list_seconds",
            "From an item's arrival to the first list seen with it",
            buckets=(*SECONDS, 120.0, 600.0, 3600.0, 86_400.0),
            registry=registry,
        )
        self.checkpoint_seconds = Histogram(
            "springtide_checkpoint_seconds", "Writing a checkpoint", buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self.checkpoint_pause = Histogram(
            "springtide_checkpoint_pause_seconds",
            "How long learning stands still for a snapshot",
            buckets=SECONDS,
            registry=registry,
        )
        self.checkpoint_bytes = Counter(
            "springtide_checkpoint_bytes_total", "Written to checkpoints", registry=registry
        )
        self.users_dropped = Gauge(
            "springtide_users_dropped", "Users dropped since the start: SPRINGTIDE_MAX_USERS",
            registry=registry,
        )  # fmt: skip
        self.items_refused = Gauge(
            "springtide_items_refused", "Items refused since the start: SPRINGTIDE_MAX_ITEMS",
            registry=registry,
        )  # fmt: skip
        self.items_dropped = Gauge(
            "springtide_items_dropped", "Items that nobody took for long, left out at the start",
            registry=registry,
        )  # fmt: skip
        self.pairs_refused = Gauge(
            "springtide_pairs_refused", "Pairs of items given up for want of room: the weakest",
            registry=registry,
        )  # fmt: skip
        self.lag = Gauge(
            "springtide_lag_records", "Records appended and not yet worked off",
            ["topic", "partition"], registry=registry,
        )  # fmt: skip
        self.queue = Gauge(QUEUE_DEPTH, "Entries waiting", ["queue"], registry=registry)
        self.users = Gauge("springtide_users", "Users in memory", registry=registry)
        self.items = Gauge("springtide_items", "Items in memory", registry=registry)


class ApiMetrics:
    """What the API counts. One instance a process; tests give their own registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.seconds = Histogram(
            "springtide_api_request_seconds",
            "From a request's head to its answer, by operation and status",
            ["operation", "status"],
            buckets=SECONDS,
            registry=registry,
        )
        self.events = Counter(
            "springtide_api_events_total",
            "Events posted, accepted or rejected",
            ["outcome"],
            registry=registry,
        )
        self.served = Counter(
            "springtide_api_served_total",
            "Lists shown: recorded on served.v1, or dropped because too many waited",
            ["outcome"],
            registry=registry,
        )
