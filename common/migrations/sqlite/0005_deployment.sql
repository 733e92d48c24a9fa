-- What this database is: made once, with the schema. The epoch changes where the history of the
-- chats may have gone back.
create table deployment (
    one integer primary key default 1 check (one = 1),
    id text not null default (lower(hex(randomblob(16)))),
    epoch text not null default (lower(hex(randomblob(16))))
) strict;
insert into deployment default values;

-- The hash (SHA-256) of 128 random bits that the session's tokens bear: a number alone is given
-- out again after a restored backup. When the present refresh token was issued, and whether the
-- one before it was taken a second time. A session of before has no tokens any more.
alter table sessions add column key_hash blob;
alter table sessions add column rotated_at integer;
alter table sessions add column repeated integer not null default 0;
