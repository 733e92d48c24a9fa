-- What hangs on messages, and who blocked whom. No references: they would lock tables that every
-- send writes. Users and chats are never deleted, and a message's row stays.

-- A user's emoji under a message. The message's row has the counts.
create table reactions (
    message_id bigint not null,
    user_id bigint not null,
    emoji text collate "C" not null,
    primary key (message_id, user_id, emoji)
);

-- Pinned messages, by the number of the event that pinned them.
create table pins (
    chat_id bigint not null,
    message_id bigint not null,
    seq bigint not null,
    primary key (chat_id, message_id)
);

-- Who is mentioned where, at the number of the event that mentioned them.
create table mentions (
    user_id bigint not null,
    chat_id bigint not null,
    seq bigint not null,
    message_id bigint not null,
    primary key (user_id, chat_id, seq, message_id)
);

create table blocks (
    user_id bigint not null,
    blocked_id bigint not null,
    primary key (user_id, blocked_id)
);
