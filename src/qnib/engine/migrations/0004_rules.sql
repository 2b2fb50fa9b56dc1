-- What the rules say of an event can be said anew when they have changed: kept apart is what its sender said (severity
-- and fields). Of events older than this, the severity is what the rules of their time made of it.
ALTER TABLE qnib.events ADD COLUMN IF NOT EXISTS tags Array(LowCardinality(String)) AFTER lane;
ALTER TABLE qnib.events ADD COLUMN IF NOT EXISTS said LowCardinality(String) DEFAULT severity AFTER tags;
ALTER TABLE qnib.events ADD COLUMN IF NOT EXISTS sent Map(LowCardinality(String), String)
    DEFAULT mapFilter((name, value) -> name IN ('msgid', 'sent') OR position(name, '.') > 0, fields) AFTER said;
ALTER TABLE qnib.events ADD COLUMN IF NOT EXISTS pattern UInt64 CODEC(ZSTD(1)) AFTER sent;
-- Stored, not computed when read: what they are computed from changes
ALTER TABLE qnib.events MATERIALIZE COLUMN said SETTINGS mutations_sync = 1;
ALTER TABLE qnib.events MATERIALIZE COLUMN sent SETTINGS mutations_sync = 1;

-- Templates of lines no rule knew, and when each was first heard.
CREATE TABLE IF NOT EXISTS qnib.patterns (
    cluster LowCardinality(String),
    pattern UInt64,
    app SimpleAggregateFunction(anyLast, LowCardinality(String)),
    template SimpleAggregateFunction(anyLast, String),
    first_seen SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    last_seen SimpleAggregateFunction(max, DateTime64(6, 'UTC'))
) ENGINE = AggregatingMergeTree
ORDER BY (cluster, pattern)
SETTINGS non_replicated_deduplication_window = 20000;
