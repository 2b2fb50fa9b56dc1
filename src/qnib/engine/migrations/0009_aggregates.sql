-- Tens of seconds since 1970 in which events came in, late ones and those said anew included: what is counted of them is
-- counted again, and only then the row goes. Written only while aggregates are declared.
CREATE TABLE IF NOT EXISTS qnib.came (
    cluster LowCardinality(String),
    slot UInt32,
    noted UInt64
) ENGINE = MergeTree
ORDER BY (slot, cluster)
SETTINGS non_replicated_deduplication_window = 20000;

-- Aggregates whose past was counted, and what they were when it was.
CREATE TABLE IF NOT EXISTS qnib.aggregates (
    name LowCardinality(String),
    declared String,
    at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(at)
ORDER BY name;
