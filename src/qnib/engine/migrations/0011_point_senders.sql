-- Who sent points, in slots of five minutes of their arrival: points themselves do not say it.
CREATE TABLE IF NOT EXISTS qnib.point_senders (
    cluster LowCardinality(String),
    slot DateTime('UTC'),
    sender LowCardinality(String),
    listener LowCardinality(String),
    points SimpleAggregateFunction(sum, UInt64),
    last SimpleAggregateFunction(max, DateTime64(6, 'UTC'))
) ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(slot)
ORDER BY (cluster, slot, sender, listener)
SETTINGS non_replicated_deduplication_window = 20000;
