-- The messenger's tables. Every stored time is taken from this server's clock, so that nodes' clocks may be apart.

create table users (
    id bigint generated always as identity primary key,
    username text not null,
    -- Lowered by the program, so that both databases fold the same; "C": byte order, which prefix search relies on.
    username_lower text collate "C" not null,
    email text not null,
    email_lower text collate "C" not null,
    password_hash text not null,
    is_active boolean not null default true,
    created_at timestamptz not null default clock_timestamp(),
    last_seen_at timestamptz,
    -- Login by name, and search by its prefix.
    constraint users_username_key unique (username_lower),
    -- Login by e-mail.
    constraint users_email_key unique (email_lower)
) with (fillfactor = 80);

create table sessions (
    id bigint generated always as identity primary key,
    user_id bigint not null references users,
    generation bigint not null default 0,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    ended_at timestamptz,
    -- Whether it ended because the account was deactivated.
    disabled boolean not null default false
) with (fillfactor = 80);
-- Ending all of a user's.
create index sessions_user on sessions (user_id) where ended_at is null;
-- What ended lately.
create index sessions_ended on sessions (ended_at) where ended_at is not null;
-- Pruning.
create index sessions_expires on sessions (expires_at);

-- No index on what each send changes (seq, active_at), and room in each page: every send is then a heap-only update.
create table chats (
    id bigint generated always as identity primary key,
    is_group boolean not null,
    name text not null default '',
    description text,
    created_at timestamptz not null,
    active_at timestamptz not null,
    seq bigint not null default 0,
    -- The last number that the log no longer keeps.
    floor bigint not null default 0,
    member_count bigint not null,
    pair_low bigint references users,
    pair_high bigint references users,
    deleted_at timestamptz,
    -- Whether the texts of a deleted chat are erased by now.
    erased boolean not null default false,
    constraint chats_pair_check check (is_group = (pair_low is null) and is_group = (pair_high is null)),
    constraint chats_pair_order_check check (pair_low < pair_high),
    constraint chats_floor_check check (floor >= 0 and floor <= seq)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
-- The private chat of two users, of which there is one.
create unique index chats_pair_key on chats (pair_low, pair_high) where pair_low is not null;
-- Deleted chats whose texts are still to be erased.
create index chats_to_erase on chats (id) where deleted_at is not null and not erased;

create table members (
    chat_id bigint not null references chats,
    user_id bigint not null references users,
    -- 1 owner, 2 member.
    role smallint not null check (role in (1, 2)),
    joined_at timestamptz not null,
    read_seq bigint not null default 0,
    -- Rights, and a chat's members in order.
    primary key (chat_id, user_id)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
-- A user's chats.
create index members_user on members (user_id, chat_id);

create table messages (
    id bigint generated always as identity primary key,
    chat_id bigint not null references chats,
    seq bigint not null,
    author_id bigint not null references users,
    text text not null,
    created_at timestamptz not null,
    edited_at timestamptz,
    deleted_at timestamptz,
    client_message_id text,
    -- Of the text as first sent, to tell a retry from a reuse of the id after an edit; erased with the text.
    text_digest bigint,
    reply_to_id bigint references messages
) with (fillfactor = 95, autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.05);
-- History, the last message, and unread counts without touching the table.
create unique index messages_seq_key on messages (chat_id, seq) include (author_id, deleted_at);
-- Idempotent sends.
create unique index messages_client_key on messages (chat_id, author_id, client_message_id)
    where client_message_id is not null;

-- What happened beside the sending of messages; never what was said. A message's own row is its entry in the log.
create table events (
    chat_id bigint not null references chats,
    seq bigint not null,
    -- The byte of EventKind; 1 is a message.
    kind smallint not null check (kind between 2 and 8),
    message_id bigint references messages,
    user_id bigint references users,
    role smallint,
    created_at timestamptz not null,
    -- Replay.
    primary key (chat_id, seq)
) with (autovacuum_vacuum_scale_factor = 0.05);
-- Pruning, oldest first.
create index events_created on events (created_at);

-- The log of every chat: 1, 2, 3, … without a gap above the chat's floor.
create view log as
    select chat_id, seq, 1::smallint as kind, id as message_id, null::bigint as user_id, null::smallint as role, created_at
    from messages
    union all
    select chat_id, seq, kind, message_id, user_id, role, created_at from events;

-- How far pruning has come through the messages, which stay: only the floors of their chats rise. Ids rise with time.
create table pruned (
    only_row boolean primary key default true check (only_row),
    message_id bigint not null
);
insert into pruned (message_id) values (0);

-- What was committed and perhaps not published yet: names of events and notices, never a text. Read by id only.
create table outbox (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    claimed_until timestamptz,
    -- How many events and notices it names.
    size bigint not null,
    payload json not null
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000);
