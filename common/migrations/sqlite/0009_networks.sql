-- The networks that somebody logged in to an account from: a stranger's wrong passwords do not slow
-- its owner there.
create table networks (
    user_id integer not null,
    -- The first eight bytes of the SHA-256 of an IPv4 address or an IPv6 /48.
    network integer not null,
    seen_at integer not null,
    primary key (user_id, network)
) strict, without rowid;
-- Pruning.
create index networks_seen on networks (seen_at);
