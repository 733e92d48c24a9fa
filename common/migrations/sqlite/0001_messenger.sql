-- The messenger's tables. Times are microseconds since the Unix epoch: integers sort, texts with a trimmed fraction do not.

create table users (
    id integer primary key autoincrement,
    username text not null,
    -- Lowered by the program, so that both databases fold the same. Unique: login by name, and search by its prefix.
    username_lower text not null unique,
    email text not null,
    -- Login by e-mail.
    email_lower text not null unique,
    password_hash text not null,
    is_active integer not null default 1,
    created_at integer not null,
    last_seen_at integer
) strict;

create table sessions (
    id integer primary key autoincrement,
    user_id integer not null references users,
    generation integer not null default 0,
    created_at integer not null,
    expires_at integer not null,
    ended_at integer,
    -- Whether it ended because the account was deactivated.
    disabled integer not null default 0
) strict;
-- Ending all of a user's.
create index sessions_user on sessions (user_id) where ended_at is null;
-- What ended lately.
create index sessions_ended on sessions (ended_at) where ended_at is not null;
-- Pruning.
create index sessions_expires on sessions (expires_at);

create table chats (
    id integer primary key autoincrement,
    is_group integer not null,
    name text not null default '',
    description text,
    created_at integer not null,
    active_at integer not null,
    seq integer not null default 0,
    -- The last number that the log no longer keeps.
    floor integer not null default 0 check (floor >= 0 and floor <= seq),
    member_count integer not null,
    pair_low integer references users,
    pair_high integer references users,
    deleted_at integer,
    -- Whether the texts of a deleted chat are erased by now.
    erased integer not null default 0,
    check (is_group = (pair_low is null) and is_group = (pair_high is null)),
    check (pair_low < pair_high)
) strict;
-- The private chat of two users, of which there is one.
create unique index chats_pair_key on chats (pair_low, pair_high) where pair_low is not null;
-- Deleted chats whose texts are still to be erased.
create index chats_to_erase on chats (id) where deleted_at is not null and not erased;

create table members (
    chat_id integer not null references chats,
    user_id integer not null references users,
    -- 1 owner, 2 member.
    role integer not null check (role in (1, 2)),
    joined_at integer not null,
    read_seq integer not null default 0,
    -- Rights, and a chat's members in order.
    primary key (chat_id, user_id)
) strict, without rowid;
-- A user's chats.
create index members_user on members (user_id, chat_id);

create table messages (
    id integer primary key autoincrement,
    chat_id integer not null references chats,
    seq integer not null,
    author_id integer not null references users,
    text text not null,
    created_at integer not null,
    edited_at integer,
    deleted_at integer,
    client_message_id text,
    -- Of the text as first sent, to tell a retry from a reuse of the id after an edit; erased with the text.
    text_digest integer,
    reply_to_id integer references messages
) strict;
-- One message a number.
create unique index messages_seq_key on messages (chat_id, seq);
-- History, the last message, and unread counts without touching the table.
create index messages_live on messages (chat_id, seq, author_id) where deleted_at is null;
-- Idempotent sends.
create unique index messages_client_key on messages (chat_id, author_id, client_message_id)
    where client_message_id is not null;

-- What happened beside the sending of messages; never what was said. A message's own row is its entry in the log.
create table events (
    chat_id integer not null references chats,
    seq integer not null,
    -- The byte of EventKind; 1 is a message.
    kind integer not null check (kind between 2 and 8),
    message_id integer references messages,
    user_id integer references users,
    role integer,
    created_at integer not null,
    -- Replay.
    primary key (chat_id, seq)
) strict, without rowid;
-- Pruning, oldest first.
create index events_created on events (created_at);

-- How far pruning has come through the messages, which stay: only the floors of their chats rise. Ids rise with time.
create table pruned (
    only_row integer primary key default 1 check (only_row = 1),
    message_id integer not null
) strict;
insert into pruned (message_id) values (0);

-- What was committed and perhaps not published yet: names of events and notices, never a text. Read by id only.
create table outbox (
    id integer primary key autoincrement,
    created_at integer not null,
    claimed_until integer,
    -- How many events and notices it names.
    size integer not null,
    payload text not null
) strict;
