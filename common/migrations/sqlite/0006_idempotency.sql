-- The answers to requests that bear an Idempotency-Key, for a day. A claim without a status runs
-- still, or its process died: after its lease the same request may claim the key anew.
create table idempotency_keys (
    user_id integer not null,
    key text not null,
    -- SHA-256 of the method, the path and the body.
    request blob not null,
    -- Random: a claim whose lease ended does not finish its successor.
    claim integer not null,
    created_at integer not null,
    leased_until integer not null,
    status integer,
    body blob,
    primary key (user_id, key)
) strict, without rowid;
-- Pruning.
create index idempotency_keys_created on idempotency_keys (created_at);
