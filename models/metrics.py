"""Every metric of the classifier server, named in one file (Prometheus rules: base units)."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class ClassifierMetrics:
    """What a classifier counts. One instance a process; tests give their own registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.requests = Counter(
            "springtide_classifier_requests_total",
            "Requests by route and status",
            ["route", "status"],
            registry=registry,
        )
        self.texts = Counter(
            "springtide_classifier_texts_total", "Texts answered", ["task"], registry=registry
        )
        self.flagged = Counter(
            "springtide_classifier_flagged_total", "Texts with nothing to read", registry=registry
        )
        self.item_errors = Counter(
            "springtide_classifier_item_errors_total",
            "Texts the model failed on",
            registry=registry,
        )
        self.refused = Counter(
            "springtide_classifier_refused_total", "Texts refused: queue full", registry=registry
        )
        self.dropped = Counter(
            "springtide_classifier_dropped_total",
            "Texts whose caller hung up before the device saw them",
            registry=registry,
        )
        self.expired = Counter(
            "springtide_classifier_expired_total",
            "Texts whose deadline passed before the device saw them",
            registry=registry,
        )
        self.tokens = Counter(
            "springtide_classifier_tokens_total",
            "Tokens on the device, real and padding",
            ["kind"],
            registry=registry,
        )
        self.flops = Counter(
            "springtide_classifier_operations_total",
            "Floating-point operations for real tokens",
            registry=registry,
        )
        self.peak = Gauge(
            "springtide_classifier_peak_operations_per_second",
            "What a large matrix product reached on this device at start",
            registry=registry,
        )
        self.swaps = Counter(
            "springtide_classifier_swaps_total",
            "Versions that took over while serving, or could not",
            ["outcome"],
            registry=registry,
        )
        self.shadowed = Counter(
            "springtide_classifier_shadow_total",
            "Texts that the shadow version scored too, or had no time for",
            ["outcome"],
            registry=registry,
        )
        self.queued = Gauge(
            "springtide_classifier_queued", "Texts taken and not yet answered", registry=registry
        )
        self.prepare_seconds = Histogram(
            "springtide_classifier_prepare_seconds",
            "Hygiene and tokenising of a request, its wait for them included",
            buckets=SECONDS,
            registry=registry,
        )
        self.wait_seconds = Histogram(
            "springtide_classifier_wait_seconds",
            "From tokenised to the device",
            buckets=SECONDS,
            registry=registry,
        )
        self.device_seconds = Histogram(
            "springtide_classifier_device_seconds",
            "A batch on the device",
            buckets=SECONDS,
            registry=registry,
        )
        self.decode_seconds = Histogram(
            "springtide_classifier_decode_seconds",
            "Writing the answer of a request",
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_rows = Histogram(
            "springtide_classifier_batch_rows", "Texts in a batch", buckets=ROWS, registry=registry
        )
        self.batch_fill = Histogram(
            "springtide_classifier_batch_fill_ratio",
            "Real tokens in a batch, padding apart",
            buckets=SHARES,
            registry=registry,
        )

    def batch(self, lengths: Sequence[int], packed: bool, seconds: float) -> None:
        """Texts of so many tokens were on the device for so long, with padding unless packed."""
        real = sum(lengths)
        taken = real if packed else len(lengths) * max(lengths)
        self.device_seconds.observe(seconds)
        self.batch_rows.observe(len(lengths))
        self.batch_fill.observe(real / max(taken, 1))
        self.tokens.labels("real").inc(real)
        self.tokens.labels("padding").inc(taken - real)
