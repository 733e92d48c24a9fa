-- What this database is: made once, with the schema. The id is part of every topic and key in
-- Redis. The epoch changes where the history of the chats may have gone back. The origin says on
-- which server and table it was made: a restored copy has another.
create table deployment (
    one boolean primary key default true check (one),
    id text not null default replace(gen_random_uuid()::text, '-', ''),
    epoch text not null default replace(gen_random_uuid()::text, '-', ''),
    origin text not null default ''
);
insert into deployment default values;

-- The hash (SHA-256) of 128 random bits that the session's tokens bear: a number alone is given
-- out again after a restored backup. When the present refresh token was issued, and whether the
-- one before it was taken a second time. A session of before has no tokens any more.
alter table sessions
    add column key_hash bytea,
    add column rotated_at timestamptz,
    add column repeated boolean not null default false;
