-- The networks that somebody logged in to an account from: a stranger's wrong passwords do not slow
-- its owner there. No reference to users: it would lock that table, and what is kept here is pruned
-- anyway.
create table networks (
    user_id bigint not null,
    -- The first eight bytes of the SHA-256 of an IPv4 address or an IPv6 /48.
    network bigint not null,
    seen_at timestamptz not null default clock_timestamp(),
    primary key (user_id, network)
);
-- Pruning.
create index networks_seen on networks (seen_at);
