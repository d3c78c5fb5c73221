-- How fresh the tables are: per topic, the next offset to be read and when that was last said
-- A topic without traffic grows old without harm: compare with the lag that `shoploop status` shows.
SELECT
    _topic AS topic,
    uniqExact(_partition) AS partitions,
    sum(next_offset) AS next_offsets,
    max(written_at) AS last_stored,
    dateDiff('second', last_stored, now('UTC')) AS seconds_ago
FROM (
    SELECT _topic, _partition, max(next_offset) AS next_offset,
        fromUnixTimestamp64Milli(max(written_at_ms), 'UTC') AS written_at
    FROM _progress
    GROUP BY _topic, _topic_id, _partition
)
GROUP BY topic
ORDER BY topic
