-- Later releases add kinds of events, and this one reads their numbers. A check cannot be altered
-- here, so the table is made anew. No other table refers to it, and it holds the days that are kept
-- for recovery, no messages.
create table events_later (
    chat_id integer not null references chats,
    seq integer not null,
    -- The byte of EventKind; 1 is a message.
    kind integer not null check (kind >= 2),
    message_id integer references messages,
    user_id integer references users,
    role integer,
    created_at integer not null,
    -- Replay.
    primary key (chat_id, seq)
) strict, without rowid;
insert into events_later (chat_id, seq, kind, message_id, user_id, role, created_at)
    select chat_id, seq, kind, message_id, user_id, role, created_at from events order by chat_id, seq;
drop table events;
alter table events_later rename to events;
-- Pruning, oldest first.
create index events_created on events (created_at);
