-- A closed group exists for its members only. Groups of before stay public.
alter table chats add column is_public integer not null default 1;

-- Invitations: into a group, or of the host, for a registration alone. What is revoked is deleted.
create table invites (
    id integer primary key autoincrement,
    -- 128 random bits.
    code text not null unique,
    -- None: the host's.
    chat_id integer references chats,
    created_by integer references users,
    created_at integer not null,
    expires_at integer,
    max_uses integer check (max_uses > 0),
    uses integer not null default 0
) strict;
-- A group's, the newest first.
create index invites_chat on invites (chat_id, id);
-- Pruning.
create index invites_expires on invites (expires_at) where expires_at is not null;
