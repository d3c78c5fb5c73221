CREATE TABLE IF NOT EXISTS `_schema` (
    `version` UInt32,
    `applied_at` DateTime('UTC') DEFAULT now('UTC')
)
ENGINE = MergeTree ORDER BY version;

CREATE TABLE IF NOT EXISTS `_progress` (
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `next_offset` Int64,
    `written_at_ms` Int64,
    `written_at` ALIAS fromUnixTimestamp64Milli(`written_at_ms`, 'UTC')
)
ENGINE = ReplacingMergeTree(next_offset) ORDER BY (_topic, _topic_id, _partition)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `events` (
    `event_name` LowCardinality(String),
    `event_id` String,
    `event_time_ms` Int64,
    `visitor_id` String,
    `session_id` Nullable(String),
    `surface` LowCardinality(Nullable(String)),
    `prediction_id` Nullable(String),
    `request_id` Nullable(String),
    `items.item_id` Array(String),
    `items.quantity` Array(Int64),
    `items.price` Array(Nullable(Float64)),
    `items.prediction_id` Array(Nullable(String)),
    `items.source_id` Array(Nullable(String)),
    `transaction_id` Nullable(String),
    `value` Nullable(Float64),
    `currency` LowCardinality(Nullable(String)),
    `query` Nullable(String),
    `verdict` Nullable(Float64),
    `item_id` Nullable(String),
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `event_time` ALIAS fromUnixTimestamp64Milli(`event_time_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (event_name, event_time_ms, visitor_id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `items` (
    `item_id` String,
    `updated_at_ms` Int64,
    `title` String,
    `description` String,
    `category` LowCardinality(String),
    `price` Nullable(Float64),
    `currency` LowCardinality(Nullable(String)),
    `available` Bool,
    `language` LowCardinality(String),
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `updated_at` ALIAS fromUnixTimestamp64Milli(`updated_at_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (item_id, updated_at_ms)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `requests` (
    `request_id` String,
    `visitor_id` String,
    `surface` LowCardinality(String),
    `task` LowCardinality(String),
    `k` Int64,
    `session_id` Nullable(String),
    `exclude_item_ids` Array(String),
    `as_of_ms` Nullable(Int64),
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `as_of` ALIAS fromUnixTimestamp64Milli(`as_of_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (visitor_id, request_id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `predictions` (
    `prediction_id` String,
    `request_id` String,
    `visitor_id` String,
    `task` LowCardinality(String),
    `surface` LowCardinality(String),
    `served_at_ms` Int64,
    `policy` LowCardinality(String),
    `arm` LowCardinality(String),
    `model_version` LowCardinality(String),
    `weights_version` LowCardinality(String),
    `slots.item_id` Array(String),
    `slots.position` Array(Int64),
    `slots.score` Array(Float32),
    `slots.propensity` Array(Float32),
    `slots.source` Array(LowCardinality(String)),
    `slots.features` Array(Array(Float32)),
    `considered.item_id` Array(String),
    `considered.position` Array(Int64),
    `considered.score` Array(Float32),
    `considered.propensity` Array(Float32),
    `considered.source` Array(LowCardinality(String)),
    `considered.features` Array(Array(Float32)),
    `context_history` Array(String),
    `context_exclude_item_ids` Array(String),
    `context_feature_schema` LowCardinality(String),
    `context_seen_ms` Int64,
    `session_id` Nullable(String),
    `query` Nullable(String),
    `experiment_ids` Array(String),
    `degraded` LowCardinality(Nullable(String)),
    `latency_ms` Float64,
    `derived_from` Nullable(String),
    `served_by` LowCardinality(String),
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `served_at` ALIAS fromUnixTimestamp64Milli(`served_at_ms`, 'UTC'),
    `context_seen` ALIAS fromUnixTimestamp64Milli(`context_seen_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (surface, policy, served_at_ms, visitor_id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `outcomes` (
    `outcome_id` String,
    `prediction_id` String,
    `request_id` String,
    `visitor_id` String,
    `task` LowCardinality(String),
    `surface` LowCardinality(String),
    `policy` LowCardinality(String),
    `arm` LowCardinality(String),
    `model_version` LowCardinality(String),
    `weights_version` LowCardinality(String),
    `served_at_ms` Int64,
    `age` LowCardinality(String),
    `version` Int64,
    `closed_at_ms` Int64,
    `slots.item_id` Array(String),
    `slots.position` Array(Int64),
    `slots.state` Array(LowCardinality(String)),
    `slots.kind` Array(LowCardinality(Nullable(String))),
    `slots.at_ms` Array(Nullable(Int64)),
    `slots.attributed` Array(LowCardinality(String)),
    `slots.revenue` Array(Float64),
    `basket` Array(String),
    `new_basket` Array(String),
    `session_id` Nullable(String),
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `served_at` ALIAS fromUnixTimestamp64Milli(`served_at_ms`, 'UTC'),
    `closed_at` ALIAS fromUnixTimestamp64Milli(`closed_at_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (surface, policy, age, served_at_ms, visitor_id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `metrics` (
    `metric_id` String,
    `task` LowCardinality(String),
    `surface` LowCardinality(String),
    `policy` LowCardinality(String),
    `model_version` LowCardinality(String),
    `arm` LowCardinality(String),
    `age` LowCardinality(String),
    `name` LowCardinality(String),
    `window_start_ms` Int64,
    `window_end_ms` Int64,
    `value` Float64,
    `n` Int64,
    `low` Float64,
    `high` Float64,
    `revision` Int64,
    `closed` Bool,
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `window_start` ALIAS fromUnixTimestamp64Milli(`window_start_ms`, 'UTC'),
    `window_end` ALIAS fromUnixTimestamp64Milli(`window_end_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (name, surface, policy, age, window_start_ms)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `drift` (
    `drift_id` String,
    `task` LowCardinality(String),
    `surface` LowCardinality(String),
    `model_version` LowCardinality(String),
    `detector` LowCardinality(String),
    `kind` LowCardinality(String),
    `event_time_ms` Int64,
    `statistic` Float64,
    `threshold` Float64,
    `baseline` Float64,
    `current` Float64,
    `effect` Float64,
    `n` Int64,
    `minimum_detectable` Float64,
    `status` LowCardinality(String),
    `reason` String,
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `event_time` ALIAS fromUnixTimestamp64Milli(`event_time_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (task, event_time_ms)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `retrain` (
    `retrain_id` String,
    `task` LowCardinality(String),
    `state` LowCardinality(String),
    `kind` LowCardinality(String),
    `reason` String,
    `event_time_ms` Int64,
    `data_until_ms` Int64,
    `parent_version` LowCardinality(Nullable(String)),
    `drift_id` Nullable(String),
    `evidence` Map(String, Float64),
    `offsets` Map(String, Int64),
    `model_version` LowCardinality(Nullable(String)),
    `cost_ms` Int64,
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `event_time` ALIAS fromUnixTimestamp64Milli(`event_time_ms`, 'UTC'),
    `data_until` ALIAS fromUnixTimestamp64Milli(`data_until_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (task, event_time_ms)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `models` (
    `task` LowCardinality(String),
    `sequence` Int64,
    `event_time_ms` Int64,
    `champion` LowCardinality(Nullable(String)),
    `challenger` LowCardinality(Nullable(String)),
    `control` LowCardinality(Nullable(String)),
    `previous` LowCardinality(Nullable(String)),
    `pinned` Bool,
    `manifest_sha256` Map(String, String),
    `announced_wall_ms` Int64,
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `event_time` ALIAS fromUnixTimestamp64Milli(`event_time_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (task, sequence)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `model_log` (
    `log_id` String,
    `task` LowCardinality(String),
    `model_version` LowCardinality(String),
    `kind` LowCardinality(String),
    `event_time_ms` Int64,
    `reason` String,
    `retrain_id` String,
    `process` LowCardinality(String),
    `announce_to_swap_ms` Nullable(Float64),
    `evidence` Map(String, Float64),
    `gate_passed` Nullable(Bool),
    `gate_checks.name` Array(LowCardinality(String)),
    `gate_checks.passed` Array(Bool),
    `gate_checks.value` Array(Float64),
    `gate_checks.threshold` Array(Float64),
    `gate_checks.low` Array(Float64),
    `gate_checks.high` Array(Float64),
    `gate_checks.n` Array(Int64),
    `gate_checks.detail` Array(String),
    `gate_reason` Nullable(String),
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `event_time` ALIAS fromUnixTimestamp64Milli(`event_time_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (task, event_time_ms)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `commands` (
    `command` LowCardinality(String),
    `command_id` String,
    `task` LowCardinality(String),
    `retrain_id` Nullable(String),
    `event_time_ms` Int64,
    `model_version` LowCardinality(Nullable(String)),
    `manifest_sha256` Nullable(String),
    `gate_passed` Nullable(Bool),
    `gate_checks.name` Array(LowCardinality(String)),
    `gate_checks.passed` Array(Bool),
    `gate_checks.value` Array(Float64),
    `gate_checks.threshold` Array(Float64),
    `gate_checks.low` Array(Float64),
    `gate_checks.high` Array(Float64),
    `gate_checks.n` Array(Int64),
    `gate_checks.detail` Array(String),
    `gate_reason` Nullable(String),
    `failed` Nullable(String),
    `ranker.task` Array(LowCardinality(String)),
    `ranker.surface` Array(LowCardinality(String)),
    `ranker.role` Array(LowCardinality(String)),
    `ranker.model_version` Array(LowCardinality(String)),
    `ranker.version` Array(LowCardinality(String)),
    `ranker.event_time_ms` Array(Int64),
    `ranker.feature_schema` Array(LowCardinality(String)),
    `ranker.names` Array(Array(String)),
    `ranker.coef` Array(Array(Float64)),
    `ranker.bias` Array(Float64),
    `ranker.examples` Array(Int64),
    `ranker.log_loss` Array(Float64),
    `ranker.frozen` Array(Bool),
    `data_until_ms` Nullable(Int64),
    `action` LowCardinality(Nullable(String)),
    `retrain_kind` LowCardinality(Nullable(String)),
    `reason` Nullable(String),
    `by` Nullable(String),
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `event_time` ALIAS fromUnixTimestamp64Milli(`event_time_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (task, event_time_ms)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `weights` (
    `task` LowCardinality(String),
    `surface` LowCardinality(String),
    `role` LowCardinality(String),
    `model_version` LowCardinality(String),
    `version` LowCardinality(String),
    `event_time_ms` Int64,
    `feature_schema` LowCardinality(String),
    `names` Array(String),
    `coef` Array(Float64),
    `bias` Float64,
    `examples` Int64,
    `log_loss` Float64,
    `frozen` Bool,
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `event_time` ALIAS fromUnixTimestamp64Milli(`event_time_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (task, surface, role, event_time_ms)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `alerts` (
    `alert_id` String,
    `name` LowCardinality(String),
    `severity` LowCardinality(String),
    `state` LowCardinality(String),
    `event_time_ms` Int64,
    `summary` String,
    `evidence` Map(String, Float64),
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `event_time` ALIAS fromUnixTimestamp64Milli(`event_time_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (alert_id, event_time_ms)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `erasures` (
    `visitor_id` String,
    `requested_at_ms` Int64,
    `done_at_ms` Nullable(Int64),
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `requested_at` ALIAS fromUnixTimestamp64Milli(`requested_at_ms`, 'UTC'),
    `done_at` ALIAS fromUnixTimestamp64Milli(`done_at_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (visitor_id, requested_at_ms)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `dead_letters` (
    `topic` LowCardinality(String),
    `reason` LowCardinality(String),
    `message` String,
    `origin` String,
    `key` String,
    `value` String,
    `recorded_at_ms` Int64,
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `recorded_at` ALIAS fromUnixTimestamp64Milli(`recorded_at_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (_topic, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `watermarks` (
    `event_time_ms` Int64,
    `barrier` Int64,
    `run_id` String,
    `final` Bool,
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `event_time` ALIAS fromUnixTimestamp64Milli(`event_time_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (_topic, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `quarantine` (
    `reason` LowCardinality(String),
    `message` String,
    `key` String,
    `value` String,
    `recorded_at_ms` Int64,
    `_topic` LowCardinality(String),
    `_topic_id` LowCardinality(String),
    `_partition` Int32,
    `_offset` Int64,
    `recorded_at` ALIAS fromUnixTimestamp64Milli(`recorded_at_ms`, 'UTC'),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (_topic, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;
