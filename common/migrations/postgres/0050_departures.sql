-- Closed accounts whose groups are still to be passed on. The account is closed first; a program that ends in between leaves the rest
-- to another. No reference to users: it would lock that table.
create table departures (
    user_id bigint primary key,
    left_at timestamptz not null default clock_timestamp()
);
