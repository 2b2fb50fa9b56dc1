-- Coarser steps of the points. A row's figures are over the slots of the step below (over the points themselves in the
-- first), of which there may be `expected`. Recomputed whole whenever its points change: the newest version is right.
CREATE TABLE IF NOT EXISTS qnib.rollups (
    cluster LowCardinality(String),
    series UInt64,
    step UInt32,
    time DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    count UInt32 CODEC(ZSTD(1)),
    sum Float64 CODEC(ZSTD(1)),
    min Float64 CODEC(ZSTD(1)),
    max Float64 CODEC(ZSTD(1)),
    last Float64 CODEC(ZSTD(1)),
    nearest Float64 CODEC(ZSTD(1)),
    expected UInt32 CODEC(ZSTD(1)),
    version UInt64 CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(time)
ORDER BY (series, step, time)
SETTINGS non_replicated_deduplication_window = 20000;

-- Hours since 1970 whose points changed after they were rolled up: of one series, or of all (series 0); no cluster: of
-- all clusters. A row goes when the roll-ups are right again.
CREATE TABLE IF NOT EXISTS qnib.changed (
    cluster LowCardinality(String),
    hour UInt32,
    series UInt64,
    noted UInt64
) ENGINE = MergeTree
ORDER BY (hour, series)
SETTINGS non_replicated_deduplication_window = 20000;

-- 'settled': the hour from which on nothing is rolled up yet; 'rules': hash of the rules all before was rolled up by.
CREATE TABLE IF NOT EXISTS qnib.rollup_marks (
    name LowCardinality(String),
    value UInt64,
    number UInt64
) ENGINE = ReplacingMergeTree(number)
ORDER BY name;
