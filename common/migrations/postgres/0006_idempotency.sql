-- The answers to requests that bear an Idempotency-Key, for a day. A claim without a status runs
-- still, or its process died: after its lease the same request may claim the key anew. No
-- reference to users: it would lock that table, and what is kept here is pruned anyway.
create table idempotency_keys (
    user_id bigint not null,
    key text not null,
    -- SHA-256 of the method, the path and the body.
    request bytea not null,
    -- Random: a claim whose lease ended does not finish its successor.
    claim bigint not null,
    created_at timestamptz not null default clock_timestamp(),
    leased_until timestamptz not null,
    status integer,
    body bytea,
    primary key (user_id, key)
);
-- Pruning.
create index idempotency_keys_created on idempotency_keys (created_at);
