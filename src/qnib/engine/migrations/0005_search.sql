-- Words of messages, and hosts, by text indexes: built when parts are merged, not when they are inserted (see the
-- writer). Events stand in order of time, so that no other index leaves out anything by host. The job that a line itself
-- names, by number, is a column of its own: joining lines to jobs looks at it in every line.
ALTER TABLE qnib.events ADD INDEX IF NOT EXISTS words message
    TYPE text(tokenizer = splitByNonAlpha, preprocessor = lowerUTF8(message));
ALTER TABLE qnib.events ADD INDEX IF NOT EXISTS by_host host TYPE text(tokenizer = array);
ALTER TABLE qnib.events ADD INDEX IF NOT EXISTS by_arrival received TYPE minmax;
ALTER TABLE qnib.events ADD COLUMN IF NOT EXISTS job LowCardinality(String) MATERIALIZED if(fields['job'] != '',
    fields['job'], splitByChar('@', substring(arrayFirst(ref -> startsWith(ref, 'Job:'), entities), 5))[1]);
ALTER TABLE qnib.events MATERIALIZE INDEX words;
ALTER TABLE qnib.events MATERIALIZE INDEX by_host;
