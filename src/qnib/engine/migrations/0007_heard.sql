-- When a host's numbers were last heard, exactly; series.last_seen is noted every few minutes only. No host: any other
-- series of the cluster.
CREATE TABLE IF NOT EXISTS qnib.heard (
    cluster LowCardinality(String),
    host LowCardinality(String),
    last SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
) ENGINE = AggregatingMergeTree
ORDER BY (cluster, host)
SETTINGS non_replicated_deduplication_window = 20000;

INSERT INTO qnib.heard (cluster, host, last)
SELECT cluster, host, max(last_seen) FROM qnib.series GROUP BY cluster, host;
