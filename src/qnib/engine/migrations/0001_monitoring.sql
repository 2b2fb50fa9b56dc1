-- What the monitoring part records. A statement ends with ';' at the end of a line, and can be run twice.
-- The deduplication windows outlast the spool's own memory: a file replayed after a crash counts once.

-- A series' number is a hash of cluster and path, so that it alone orders the points (and sorts twice as fast).
CREATE TABLE IF NOT EXISTS qnib.points (
    cluster LowCardinality(String),
    series UInt64,
    time DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    value Float64 CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (series, time)
SETTINGS non_replicated_deduplication_window = 20000;

CREATE TABLE IF NOT EXISTS qnib.series (
    cluster LowCardinality(String),
    series UInt64,
    path SimpleAggregateFunction(anyLast, String),
    name SimpleAggregateFunction(anyLast, LowCardinality(String)),
    tags SimpleAggregateFunction(anyLast, Map(String, String)),
    unit SimpleAggregateFunction(anyLast, LowCardinality(String)),
    mtype SimpleAggregateFunction(anyLast, LowCardinality(String)),
    host SimpleAggregateFunction(anyLast, LowCardinality(String)),
    first_seen SimpleAggregateFunction(min, DateTime64(3, 'UTC')),
    last_seen SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
) ENGINE = AggregatingMergeTree
ORDER BY (cluster, series)
SETTINGS non_replicated_deduplication_window = 20000;

CREATE TABLE IF NOT EXISTS qnib.job_samples (
    cluster LowCardinality(String),
    job UInt64,
    step LowCardinality(String),
    task LowCardinality(String),
    host LowCardinality(String),
    metric LowCardinality(String),
    time DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    value Float64 CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (cluster, job, metric, host, step, task, time)
SETTINGS non_replicated_deduplication_window = 20000;

CREATE TABLE IF NOT EXISTS qnib.events (
    cluster LowCardinality(String),
    id UInt64,
    time DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    received DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    sender LowCardinality(String),
    listener LowCardinality(String),
    host LowCardinality(String),
    app LowCardinality(String),
    pid String,
    facility LowCardinality(String),
    severity LowCardinality(String),
    message String CODEC(ZSTD(1)),
    kind LowCardinality(String),
    rules Array(LowCardinality(String)),
    fields Map(LowCardinality(String), String),
    entities Array(String),
    hint LowCardinality(String),
    lane LowCardinality(String),
    INDEX by_entity entities TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_app app TYPE set(100) GRANULARITY 4,
    INDEX by_kind kind TYPE set(100) GRANULARITY 4
) ENGINE = MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (cluster, time, host)
SETTINGS non_replicated_deduplication_window = 20000;

CREATE TABLE IF NOT EXISTS qnib.rejects (
    cluster LowCardinality(String),
    received DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    listener LowCardinality(String),
    sender LowCardinality(String),
    reason LowCardinality(String),
    raw String CODEC(ZSTD(1))
) ENGINE = MergeTree
PARTITION BY toYYYYMM(received)
ORDER BY (cluster, received)
SETTINGS non_replicated_deduplication_window = 20000;
