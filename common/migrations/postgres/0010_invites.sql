-- A closed group exists for its members only. Groups of before stay public.
alter table chats add column is_public boolean not null default true;

-- Invitations: into a group, or of the host, for a registration alone. What is revoked is deleted.
-- No references: they would lock tables that every send writes.
create table invites (
    id bigint generated always as identity primary key,
    -- 128 random bits.
    code text collate "C" not null,
    -- None: the host's.
    chat_id bigint,
    created_by bigint,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz,
    max_uses bigint check (max_uses > 0),
    uses bigint not null default 0,
    constraint invites_code_key unique (code)
);
-- A group's, the newest first.
create index invites_chat on invites (chat_id, id);
-- Pruning.
create index invites_expires on invites (expires_at) where expires_at is not null;
