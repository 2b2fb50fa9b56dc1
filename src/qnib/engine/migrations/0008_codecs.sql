-- Points on disk: differences of neighbours' bits are smaller, and faster to write, than the bits alone (measured in
-- docs/decisions/0015-speed-of-metrics.md). Parts of before are rewritten as they are merged.
ALTER TABLE qnib.points MODIFY COLUMN value Float64 CODEC(Delta(8), ZSTD(3));
ALTER TABLE qnib.points MODIFY COLUMN series UInt64 CODEC(ZSTD(1));
