-- What the inventory records: facts with the interval in which they held. Append-only: of the rows that tell of
-- the same version (cluster, form, kind, key, valid_from) the one recorded last is believed, the others say what
-- was believed before. A row whose valid_until lies before its valid_from takes that version back.
CREATE TABLE IF NOT EXISTS qnib.facts (
    cluster LowCardinality(String),
    form LowCardinality(String),
    kind LowCardinality(String),
    key String,
    source_kind LowCardinality(String),
    source_key String,
    target_kind LowCardinality(String),
    target_key String,
    properties String CODEC(ZSTD(3)),
    began DateTime64(6, 'UTC'),
    valid_from DateTime64(6, 'UTC'),
    valid_until Nullable(DateTime64(6, 'UTC')),
    stated Bool,
    silent Nullable(DateTime64(6, 'UTC')),
    recorded DateTime64(6, 'UTC'),
    told_by LowCardinality(String)
) ENGINE = MergeTree
ORDER BY (cluster, form, kind, key, valid_from, recorded);

-- A source that told the same as before confirms all it has told with one row.
CREATE TABLE IF NOT EXISTS qnib.confirmations (
    cluster LowCardinality(String),
    told_by LowCardinality(String),
    at DateTime64(6, 'UTC')
) ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (cluster, told_by, at);
