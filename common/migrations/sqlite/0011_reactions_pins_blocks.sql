-- What hangs on messages, who blocked whom, a member's own view of a chat, and profiles.

-- A user's emoji under a message. The message's row has the counts.
create table reactions (
    message_id integer not null references messages,
    user_id integer not null references users,
    emoji text not null,
    primary key (message_id, user_id, emoji)
) strict, without rowid;

-- Pinned messages, by the number of the event that pinned them.
create table pins (
    chat_id integer not null references chats,
    message_id integer not null references messages,
    seq integer not null,
    primary key (chat_id, message_id)
) strict, without rowid;

-- Who is mentioned where, at the number of the event that mentioned them.
create table mentions (
    user_id integer not null references users,
    chat_id integer not null references chats,
    seq integer not null,
    message_id integer not null references messages,
    primary key (user_id, chat_id, seq, message_id)
) strict, without rowid;

create table blocks (
    user_id integer not null references users,
    blocked_id integer not null references users,
    primary key (user_id, blocked_id)
) strict, without rowid;

-- What a message bears, as JSON: [[emoji, count], …] in the order of the first, and [user_id, …].
-- None: nothing, and nothing is read for it.
alter table messages add column reactions text;
alter table messages add column mentions text;

-- A member's own view of the chat.
alter table members add column muted_until integer;
alter table members add column archived integer not null default 0;
alter table members add column pinned integer not null default 0;

alter table users add column display_name text;
alter table users add column bio text;

-- The emoji of a reaction's event, and how many had it then.
alter table events add column emoji text;
alter table events add column emoji_count integer;
