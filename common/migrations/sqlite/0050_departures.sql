-- Closed accounts whose groups are still to be passed on. The account is closed first; a program that ends in between leaves the rest
-- to its next start.
create table departures (
    user_id integer primary key,
    left_at integer not null
) strict;
