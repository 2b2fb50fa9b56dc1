-- Forwarding tables, one row each time a switch's table changed: ports[lid] as an octet, 255 for none. An empty one
-- says that the switch was no longer there. Of rows with the same valid_from the one recorded last is believed.
CREATE TABLE IF NOT EXISTS qnib.forwarding (
    cluster LowCardinality(String),
    switch String,
    valid_from DateTime64(6, 'UTC'),
    recorded DateTime64(6, 'UTC'),
    told_by LowCardinality(String),
    text String EPHEMERAL,
    ports String DEFAULT base64Decode(text) CODEC(ZSTD(3))
) ENGINE = MergeTree
ORDER BY (cluster, switch, valid_from, recorded);
