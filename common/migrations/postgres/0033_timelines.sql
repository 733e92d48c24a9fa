-- The timelines of the write-ahead log in which nodes met this database as the primary, each with a mark of its own. A replica
-- that has the primary's mark follows its history, and no other branch of it.
create table timelines (
    timeline text primary key,
    mark text not null default replace(gen_random_uuid()::text, '-', '')
);
