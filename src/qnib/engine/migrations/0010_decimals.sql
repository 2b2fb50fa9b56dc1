-- Points on disk as decimal numbers: `digits` with `scale` places take 60 % of the octets of floating-point bits, and
-- no more time (measured in docs/decisions/0015-speed-of-metrics.md). Numbers below a thousand have a place at least,
-- so that neighbours are of one scale. What is no decimal number of nine places is kept as its bits, of scale 255. Only
-- the sign of a zero is lost. `told` is what is inserted.
DROP TABLE IF EXISTS qnib.points_decimal;
CREATE TABLE qnib.points_decimal (
    cluster LowCardinality(String),
    series UInt64 CODEC(ZSTD(1)),
    time DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    told Float64 EPHEMERAL,
    scale UInt8 DEFAULT multiIf(
        abs(told) >= 1000. AND abs(told) < 9007199254740992. AND round(told) = told, 0,
        abs(told) < 900719925474099. AND round(told * 1e1) / 1e1 = told, 1,
        abs(told) < 90071992547409. AND round(told * 1e2) / 1e2 = told, 2,
        abs(told) < 9007199254740. AND round(told * 1e3) / 1e3 = told, 3,
        abs(told) < 9007199254. AND round(told * 1e6) / 1e6 = told, 6,
        abs(told) < 9007199. AND round(told * 1e9) / 1e9 = told, 9,
        255
    ) CODEC(ZSTD(1)),
    digits Int64 DEFAULT if(
        scale = 255, reinterpretAsInt64(told),
        toInt64(round(told * transform(scale, [1, 2, 3, 6, 9], [1e1, 1e2, 1e3, 1e6, 1e9], 1.)))
    ) CODEC(Delta(8), T64('bit'), ZSTD(1)),
    value Float64 ALIAS if(
        scale = 255, reinterpretAsFloat64(digits),
        digits / transform(scale, [1, 2, 3, 6, 9], [1e1, 1e2, 1e3, 1e6, 1e9], 1.)
    )
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (series, time)
SETTINGS non_replicated_deduplication_window = 20000;

INSERT INTO qnib.points_decimal (cluster, series, time, told) SELECT cluster, series, time, value FROM qnib.points;
EXCHANGE TABLES qnib.points_decimal AND qnib.points;
DROP TABLE qnib.points_decimal;
