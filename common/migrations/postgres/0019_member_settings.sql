-- A member's own view of the chat.
alter table members
    add column muted_until timestamptz,
    add column archived boolean not null default false,
    add column pinned boolean not null default false;
