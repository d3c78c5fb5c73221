-- Records per topic over all tables: rows, quarantined, how often one is there twice, next offsets
SELECT
    _topic AS topic,
    count() AS records,
    countIf(place = 'quarantine') AS quarantined,
    countIf(place = 'watermarks') AS watermarks,
    count() - uniqExact(_topic_id, _partition, _offset) AS stored_twice,
    uniqExact(_topic_id) AS topic_ids
FROM (
    SELECT 'alerts' AS place, _topic, _topic_id, _partition, _offset FROM alerts UNION ALL
    SELECT 'audit' AS place, _topic, _topic_id, _partition, _offset FROM audit UNION ALL
    SELECT 'commands' AS place, _topic, _topic_id, _partition, _offset FROM commands UNION ALL
    SELECT 'dead_letters' AS place, _topic, _topic_id, _partition, _offset FROM dead_letters UNION ALL
    SELECT 'drift' AS place, _topic, _topic_id, _partition, _offset FROM drift UNION ALL
    SELECT 'erasures' AS place, _topic, _topic_id, _partition, _offset FROM erasures UNION ALL
    SELECT 'events' AS place, _topic, _topic_id, _partition, _offset FROM events UNION ALL
    SELECT 'identities' AS place, _topic, _topic_id, _partition, _offset FROM identities UNION ALL
    SELECT 'items' AS place, _topic, _topic_id, _partition, _offset FROM items UNION ALL
    SELECT 'metrics' AS place, _topic, _topic_id, _partition, _offset FROM metrics UNION ALL
    SELECT 'model_log' AS place, _topic, _topic_id, _partition, _offset FROM model_log UNION ALL
    SELECT 'models' AS place, _topic, _topic_id, _partition, _offset FROM models UNION ALL
    SELECT 'outcomes' AS place, _topic, _topic_id, _partition, _offset FROM outcomes UNION ALL
    SELECT 'predictions' AS place, _topic, _topic_id, _partition, _offset FROM predictions UNION ALL
    SELECT 'quarantine' AS place, _topic, _topic_id, _partition, _offset FROM quarantine UNION ALL
    SELECT 'requests' AS place, _topic, _topic_id, _partition, _offset FROM requests UNION ALL
    SELECT 'resent' AS place, _topic, _topic_id, _partition, _offset FROM resent UNION ALL
    SELECT 'retrain' AS place, _topic, _topic_id, _partition, _offset FROM retrain UNION ALL
    SELECT 'watermarks' AS place, _topic, _topic_id, _partition, _offset FROM watermarks UNION ALL
    SELECT 'weights' AS place, _topic, _topic_id, _partition, _offset FROM weights
)
GROUP BY topic
ORDER BY topic
